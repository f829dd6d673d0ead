"""The hash of the weights that a trained run means, which shows at once whether it has them."""

from orchestrator.trained.trained_run import TrainedRun


def weights_of(trained: TrainedRun) -> str:
    """Load the model, and return the SHA-256 of its weights. Raises JobError."""
    from workers.models.own.installed import code_of
    from workers.trained.load import load_trained

    with code_of(trained.job):
        return load_trained(trained.job, trained.checkpoint).weights_sha256
