"""Build the model of a job: a built-in one, or one of the user's own."""

from torch import nn

from workers.config import TrainJob
from workers.models import recurrent
from workers.models.own import installed


def model_of(job: TrainJob) -> nn.Module:
    """Return a new model, whose first weights are a function of the job alone.

    One of the user's own can be built within `installed.code_of`.
    """
    seed = job.training.seed
    if job.model.class_path is not None:
        return installed.build(job.model, job.data, seed)
    return recurrent.build_model(job.model, job.data, seed, job.training.bptt_steps)
