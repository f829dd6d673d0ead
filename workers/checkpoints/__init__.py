"""Weights and checkpoints: write, verify and load them, and decide when to save.

Only this package detects damage to a checkpoint.
"""
