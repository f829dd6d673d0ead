"""Looking at a run from outside: follow it until it ends or Ctrl-C, ask its cluster, and say why it
waits or failed (`diagnosis`).

Only `endings` writes an outcome, for a run whose own process could not.
"""
