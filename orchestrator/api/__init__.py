"""The Python API, for scripts and notebooks: submit a job in any mode, open a run, use its model.

`orchestrator.__all__` lists what of it is public, and docs/api.md is made from its docstrings. What
the command line and the API share is in the rooms below.
"""
