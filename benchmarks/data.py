"""The rows of the benchmarks: the full MNIST in RNNJOB_DATA_DIR, or else the shipped sample."""

import os
from pathlib import Path

import torch
from torch import Tensor

from orchestrator.datasets.prepare import default_cache
from orchestrator.datasets.sources import SAMPLE, find_source


def data_dir() -> Path | None:
    """Return the folder with the full MNIST; None if the shipped sample is used."""
    folder = os.environ.get("RNNJOB_DATA_DIR")
    return Path(folder) if folder else None


def dataset_name() -> str:
    return "mnist" if data_dir() else SAMPLE


def training_rows() -> tuple[Tensor, Tensor]:
    """Return the images, (N, 28, 28) uint8, and the labels, (N) int64."""
    train, _ = find_source(dataset_name(), data_dir(), default_cache()).read()
    images, labels = torch.from_numpy(train.images.copy()), torch.from_numpy(train.labels.copy())
    return images, labels.long()
