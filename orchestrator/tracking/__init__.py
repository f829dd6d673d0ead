"""What an experiment tracker is sent of a run: a tracker is one more reader of the run folder.

Nothing here changes a run folder, trains, or uses a model; who has a bundle of the model passes it
on. MLflow is imported by `mlflow_run` alone, and only when something is sent.
"""
