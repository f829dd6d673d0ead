"""Fixtures of the unit tests: no cluster, no network, a cache of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "unit",
    deadline=None,
    derandomize=True,  # a failure is the same for everyone, and no database is left behind
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("unit")


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache and a state folder in tmp_path, no settings from the caller's environment, no data
    sets of the system, one intra-op thread."""
    monkeypatch.setenv("RNNJOB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "share"))
    for name in ("RNNJOB_DATA_DIR", "RNNJOB_STORAGE", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch.set_flush_denormal(False)  # as at first; jobs in this process set it
