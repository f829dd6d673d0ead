"""Files on any file system that pyarrow can open, and JSON that somebody else may have written.

Nothing in this package knows about runs.
"""
