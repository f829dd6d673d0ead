"""The commands that use what was trained.

A command that trains belongs to `cli.jobs`, one about the record of a run to `cli.runs`.
"""
