"""The process that runs a job. On a cluster `supervisor` comes first; it starts `__main__`, the
driver, which waits for capacity, trains, keeps status.json true and writes the outcome.

Nothing here submits a job (`launch` does) or looks at one from outside (`observe` does).
"""
