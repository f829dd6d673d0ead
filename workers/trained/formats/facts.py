"""What another program must know of a model (`model.json`), and the module of all formats."""

from typing import Any

from torch import nn

from workers.config import TrainJob
from workers.models.own import step as own_step
from workers.models.own.installed import arguments_of
from workers.models.recurrent import RecurrentNetwork
from workers.seeds import Purpose, seed_of
from workers.trained.load import TrainedModel
from workers.trained.plain_model import Predictor

Facts = dict[str, Any]


def facts_of(model: TrainedModel, checkpoint: str | int | None) -> Facts:
    """Return all that is needed to rebuild a model, as JSON. An own model's within `code_of`."""
    job = model.job
    shape = job.data.input.sequence_shape(job.model.read)
    return {
        "schema_version": 1,
        "run_id": job.run_id,
        "checkpoint": checkpoint,
        "weights_sha256": model.weights_sha256,
        "dtype": "float32",
        "precision_of_training": job.training.precision,
        "dataset": job.data.name,
        "dataset_fingerprint": job.data.fingerprint,
        "input": job.data.input.model_dump(mode="json"),
        "target": job.data.target.model_dump(mode="json"),
        "network": job.model.model_dump(mode="json"),
        "has_lengths": shape.has_lengths,
        "num_features": shape.num_features,
        "vocabulary_size": shape.vocabulary_size,
        "num_outputs": job.data.target.num_outputs,
        "own": _own(model.module, job),
    }


def _own(module: nn.Module, job: TrainJob) -> Facts | None:
    if job.model.class_path is None:
        return None
    seed = job.training.seed
    return {
        "arguments": arguments_of(job.model, job.data, seed),
        "seed": seed_of(seed, Purpose.INIT),
        "takes_lengths": own_step.takes_lengths(module),
    }


def predictor_of(model: TrainedModel, facts: Facts) -> Predictor:
    """Return the module that is exported: rows of the data set in, probabilities or numbers out."""
    if isinstance(model.module, RecurrentNetwork):
        # Where gradients end changes no output, and would be a loop over the time steps.
        model.module.bptt_steps = 0
    return Predictor(model.module, facts).eval()


def input_names(facts: Facts) -> list[str]:
    return ["inputs", "lengths"] if facts["has_lengths"] else ["inputs"]


def output_name(facts: Facts) -> str:
    return "probabilities" if facts["target"]["kind"] == "classes" else "numbers"


def is_dynamic_in_time(facts: Facts) -> bool:
    """Return whether the model reads sequences of any number of time steps.

    One of the user's own may depend on a length that all rows of its data set have.
    """
    is_image = facts["input"]["kind"] == "image"
    return facts["has_lengths"] or (facts["own"] is None and not is_image)
