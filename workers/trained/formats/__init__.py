"""Write a trained model in the formats of other programs, and check what was written.

The module that all of them share is `workers.trained.plain_model.Predictor`.
"""
