"""What a trained model is used for: its run is opened, and rows are found and read for it.

What computes with the model is in `workers.trained`. Training is in `driver` and `launch`.
"""
