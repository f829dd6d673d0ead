"""Record what a model computes, for ONNX and TorchScript: both follow one call."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from workers.data.rows import Batch
from workers.errors import JobError, ModelError
from workers.models.own.blame import described
from workers.trained.formats.facts import Facts


def arguments_of(batch: Batch, facts: Facts) -> tuple[Tensor, ...]:
    """Return what an exported model is called with: the inputs, and their lengths if it has any."""
    inputs = batch.inputs
    if facts["input"]["kind"] == "tokens":
        inputs = inputs.to(torch.int64)
    if not facts["has_lengths"]:
        return (inputs,)
    assert batch.lengths_N is not None
    return inputs, batch.lengths_N


@contextlib.contextmanager
def recording(what: str, facts: Facts, why: str = "") -> Iterator[None]:
    """Within this context, a model is recorded, or what was recorded is run, without warnings.

    Args:
        what: the format.
        why: what an error means, if it says nothing to people.

    Raises ModelError if that fails, which happens to models of the user's own.
    """
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), torch.no_grad():
            # That sizes become constants is a warning of the tracer. It is checked afterwards.
            warnings.simplefilter("ignore")
            yield
    except JobError:
        raise
    except Exception as error:  # the tracer raises errors of any type
        raise failed(what, facts, why or described(error)) from error
    finally:
        logger.setLevel(level)


def failed(what: str, facts: Facts, why: str) -> JobError:
    """Return the error for a model that cannot be exported."""
    name = facts["network"]["class_path"]
    cause = f"the model {name or facts['run_id']} cannot be exported as {what}: {why}"
    cure = "export it with its code: --format bundle"
    if what == "bundle":
        cure = "export the weights alone: --format safetensors"
    return ModelError(cause, cure) if name else JobError(cause, cure)
