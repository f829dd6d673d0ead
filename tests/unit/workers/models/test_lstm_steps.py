"""The kernels of an LSTM, interpreted on a CPU, and the choice between them and cuDNN."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.conftest import ROOT
from workers.models import lstm_steps

SCRIPT = Path(__file__).with_name("interpreted_lstm.py")


def test_outputs_and_gradients_are_those_of_torch() -> None:
    pytest.importorskip("triton", reason="needs Triton, which torch brings along on Linux only")
    done = subprocess.run(
        [sys.executable, str(SCRIPT)],
        capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cases = json.loads(done.stdout)
    assert len(cases) == 3
    for distances in cases:
        assert len(distances) == 6 and max(distances) < 1e-6


def test_without_triton_cudnn_is_used_and_a_warning_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "workers.models.lstm_kernels", None)
    with caplog.at_level(logging.WARNING):
        assert not lstm_steps.can_run(nn.LSTM(3, 16))
    assert "cuDNN computes the LSTM" in caplog.text


def test_where_triton_cannot_compile_cudnn_is_used(caplog: pytest.LogCaptureFixture) -> None:
    """Here, the reason is that the model is on a CPU."""
    pytest.importorskip("triton", reason="needs Triton, which torch brings along on Linux only")
    with caplog.at_level(logging.WARNING):
        assert not lstm_steps.can_run(nn.LSTM(3, 16))
    assert "cuDNN computes the LSTM" in caplog.text


@pytest.mark.parametrize("cell", [nn.LSTM(3, 24, batch_first=True), nn.GRU(3, 16)])
def test_other_layers_are_left_to_cudnn(cell: nn.Module) -> None:
    x_BTF = torch.randn(2, 4, 3)
    assert torch.equal(lstm_steps.run_cell(cell, x_BTF), cell(x_BTF)[0])


def test_nothing_but_the_shape_of_a_call_decides_the_tiles() -> None:
    assert lstm_steps.tiles(64, 128) == lstm_steps.tiles(512, 128)
    assert lstm_steps.tiles(512, 512) == lstm_steps.tiles(4096, 512)
    assert lstm_steps.tiles(64, 128) != lstm_steps.tiles(512, 512)
