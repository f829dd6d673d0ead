"""The tests of this folder need an NVIDIA GPU: make test-gpu."""

import os

import pytest
import torch

from workers.gpu.settings import ENVIRONMENT, enable_determinism

if torch.cuda.is_available():
    os.environ.update(ENVIRONMENT)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.path.parent.name == "gpu":
                item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU, and there is none"))


@pytest.fixture(scope="session", autouse=True)
def deterministic() -> None:
    if torch.cuda.is_available():
        enable_determinism()
