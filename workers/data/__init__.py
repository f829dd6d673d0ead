"""What a data set is to a worker: the kinds of inputs and targets, and rows of them as tensors.

A new kind of input or target goes here. How a model reads a batch is in `workers.models`.
"""
