"""Predictions of a run's model for files: the files are found, read in blocks, and what the model
says of each row is written in the order of the rows.

What computes is in `workers.trained`. Rows that have targets are evaluated by `trained.evaluation`.
"""
