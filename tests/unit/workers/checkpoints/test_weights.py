"""The hash of the weights, and the model file."""

import hashlib
import json
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from tests.unit.simulated import tiny_job
from workers.checkpoints.weights import load_weights, model_file, weights_of, weights_sha256
from workers.models.recurrent import build_model


def test_the_hash_is_over_name_dtype_shape_and_little_endian_bytes_in_name_order() -> None:
    weights = {
        "b.weight": torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.25, 1e-3]]),
        "a.bias": torch.tensor([7.0], dtype=torch.float64),
        "c": torch.tensor(5, dtype=torch.int64),
    }
    content = (
        b"a.bias\0float64\0" + b"1\0" + struct.pack("<d", 7.0)
        + b"b.weight\0float32\0" + b"2,3\0" + struct.pack("<6f", 1.0, -2.0, 0.5, 0.0, 3.25, 1e-3)
        + b"c\0int64\0" + b"\0" + struct.pack("<q", 5)
    )  # fmt: skip
    assert weights_sha256(weights) == hashlib.sha256(content).hexdigest()


def test_a_pinned_model_keeps_its_hash() -> None:
    weights = {"w": torch.arange(6.0).reshape(2, 3)}
    content = b"w\0float32\x002,3\0" + struct.pack("<6f", 0, 1, 2, 3, 4, 5)
    assert weights_sha256(weights) == hashlib.sha256(content).hexdigest()
    assert weights_sha256({"w": weights["w"].t().contiguous().t()}) == weights_sha256(weights)


def test_order_of_insertion_does_not_matter_but_every_other_change_does() -> None:
    one, two = torch.zeros(4), torch.ones(4)
    base = weights_sha256({"a": one, "b": two})
    assert weights_sha256({"b": two, "a": one}) == base
    others = [
        {"a": two, "b": one},
        {"a": one, "c": two},
        {"a": one.reshape(2, 2), "b": two},
        {"a": one.double(), "b": two},
        {"a": torch.tensor([0.0, 0, 0, 1e-45]), "b": two},
        {"a": -one, "b": two},
    ]
    hashes = {weights_sha256(other) for other in others}
    assert len(hashes | {base}) == len(others) + 1


def test_the_model_file_holds_what_is_needed_to_rebuild_the_model(tmp_path: Path) -> None:
    job = tiny_job(tmp_path / "run-7", model={"cell": "gru", "bidirectional": True})
    model = build_model(job.model, job.data, 3)
    weights = weights_of(model)
    path = tmp_path / "model.safetensors"
    path.write_bytes(model_file(weights, job))
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    about = json.loads(metadata["rnnjob"])
    assert metadata["format"] == "pt"
    assert about == {
        "run_id": "run-7",
        "model": job.model.model_dump(),
        "input": job.data.input.model_dump(),
        "target": json.loads(job.data.target.model_dump_json()),
        "weights_sha256": weights_sha256(weights),
    }
    loaded = safetensors.torch.load_file(path)
    assert weights_sha256(loaded) == about["weights_sha256"]


def test_weights_are_copies_and_load_into_another_model(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    one, other = build_model(job.model, job.data, 1), build_model(job.model, job.data, 2)
    weights = weights_of(one)
    with torch.no_grad():
        one.head.weight.add_(1.0)
    assert not torch.equal(weights["head.weight"], one.head.weight)
    load_weights(other, weights)
    assert weights_sha256(weights_of(other)) == weights_sha256(weights)


def test_a_missing_weight_raises_key_error(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    model = build_model(job.model, job.data, 1)
    weights = weights_of(model)
    del weights["head.bias"]
    with pytest.raises(KeyError, match=r"head\.bias"):
        load_weights(model, weights)
