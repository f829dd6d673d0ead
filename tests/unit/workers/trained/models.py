"""Trained models of every kind, with weights that were drawn."""

from pathlib import Path
from typing import Any

import torch

from tests.unit.simulated import tiny_job
from tests.unit.workers.data.data_sets import (
    CLASSES,
    EQUAL_VECTORS,
    NUMBER,
    TOKENS,
    VECTORS,
    shape_of,
)
from workers.checkpoints.weights import weights_of, weights_sha256
from workers.config import TrainJob
from workers.models.build import model_of
from workers.trained.load import TrainedModel

KINDS: dict[str, dict[str, Any]] = {
    "images": {},
    "columns": {"model": {"read": "columns", "cell": "gru"}},
    "both": {"model": {"read": "rows-and-columns", "pooling": "max", "bidirectional": True}},
    "pixels": {"model": {"read": "pixels", "pooling": "mean", "bidirectional": True}},
    "vectors": {"data": shape_of(VECTORS, CLASSES), "model": {"num_layers": 2}},
    "equal": {"data": shape_of(EQUAL_VECTORS, CLASSES), "model": {"bidirectional": True}},
    "numbers": {
        "data": shape_of(VECTORS, NUMBER.model_copy(update={"mean": 1e6})),
        "model": {"pooling": "mean", "dropout": 0.5},
    },
    "tokens": {
        "data": shape_of(TOKENS, CLASSES),
        "model": {"embedding_size": 4, "pooling": "max", "bidirectional": True},
    },
    "truncated": {"data": shape_of(VECTORS, CLASSES), "training": {"bptt_steps": 2}},
}


def job_of(folder: Path, kind: str, **model: Any) -> TrainJob:
    parts = KINDS[kind]
    return tiny_job(folder, **{**parts, "model": {**parts.get("model", {}), **model}})


def trained(job: TrainJob) -> TrainedModel:
    """Return a model whose outputs differ well between rows."""
    module = model_of(job)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3.0)
    return TrainedModel(module.eval(), job, weights_sha256(weights_of(module)))
