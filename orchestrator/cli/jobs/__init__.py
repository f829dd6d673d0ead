"""Commands that start, continue or stop a job, or wait for it.

Commands that only look at a run are in `cli.runs`.
"""
