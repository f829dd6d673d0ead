"""The rows that contenders train on: the full MNIST of RNNJOB_DATA_DIR, else the shipped sample."""

import os
from pathlib import Path

import torch
from torch import Tensor

from orchestrator.datasets.prepare import default_cache
from orchestrator.datasets.sources import SAMPLE, find_source


def data_dir() -> Path | None:
    folder = os.environ.get("RNNJOB_DATA_DIR")
    return Path(folder) if folder else None


def dataset_name() -> str:
    return "mnist" if data_dir() else SAMPLE


def training_rows() -> tuple[Tensor, Tensor]:
    """Images (N, 28, 28) uint8 and labels (N) int64."""
    train, _ = find_source(dataset_name(), data_dir(), default_cache()).read()
    images, labels = torch.from_numpy(train.images.copy()), torch.from_numpy(train.labels.copy())
    return images, labels.long()
