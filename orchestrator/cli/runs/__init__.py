"""Commands that look at the runs of a storage, or remove one.

Commands that start, continue or stop a job are in `cli.jobs`.
"""
