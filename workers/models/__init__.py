"""The models and their cells, and the code that turns the rows of a batch into their inputs.

A new model goes here. Its gradient is computed in `workers.gradients`.
"""
