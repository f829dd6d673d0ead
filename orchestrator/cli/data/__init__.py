"""Commands about data sets.

The work itself is done in the package `orchestrator.datasets`.
"""
