"""Look at one run, or at all of a storage: decide its state (`state`, the only place that does),
follow it until it ends or Ctrl-C, and say why it waits or failed (`diagnosis`).

Only `endings` writes an outcome: for a follower whose job could not, and for `stop --force`.
"""
