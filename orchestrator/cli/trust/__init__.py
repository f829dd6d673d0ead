"""Commands that check what rnnjob promises: they repeat a run, or run a job with faults.

The comparisons themselves are in the packages `orchestrator.runs` and `orchestrator.drill`.
"""
