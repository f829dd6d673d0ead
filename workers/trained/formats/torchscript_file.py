"""A model as TorchScript, and the outputs of such a file."""

import io
import json
import warnings

import torch

from workers.data.rows import Batch
from workers.trained.formats.agreement import Predict
from workers.trained.formats.facts import Facts
from workers.trained.formats.traced import arguments_of, recording
from workers.trained.plain_model import Predictor

FACTS = "model.json"
"""The name of the facts among the extra files of the archive."""


def torchscript_file(predictor: Predictor, example: Batch, facts: Facts) -> bytes:
    """Return the model as TorchScript. Raises ModelError if it cannot be recorded."""
    file = io.BytesIO()
    with recording("TorchScript", facts):
        # It is checked with more rows than `check_trace` would use.
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            predictor, arguments_of(example, facts), check_trace=False
        )
        torch.jit.save(traced, file, {FACTS: json.dumps(facts)})
    return file.getvalue()


def torchscript_predict(content: bytes, facts: Facts) -> Predict:
    """Return what computes the outputs of a TorchScript file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is to be replaced one day
        loaded = torch.jit.load(io.BytesIO(content))  # type: ignore[no-untyped-call]

    def predict(batch: Batch) -> torch.Tensor:
        outputs: torch.Tensor = loaded(*arguments_of(batch, facts))
        return outputs

    return predict
