"""Trained models: load them from a run, and use them on rows of any data.

What happens while a model is trained is in `workers.train`.
"""
