"""ONNX, TorchScript and plain torch compute what rnnjob computes, for any rows."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.simulated import tiny_job
from tests.unit.workers.data.data_sets import CLASSES, MAX_LENGTH, VECTORS, random_rows, shape_of
from tests.unit.workers.trained.models import KINDS, job_of, trained
from workers.data.rows import Batch
from workers.errors import JobError
from workers.models.sequences import model_outputs
from workers.trained.formats.agreement import Agreement, Predict, compare
from workers.trained.formats.bundle import bundle_files, bundle_predict
from workers.trained.formats.facts import Facts, facts_of, predictor_of
from workers.trained.formats.made_up_rows import MadeUpRows
from workers.trained.formats.onnx_file import onnx_file, onnx_predict
from workers.trained.formats.torchscript_file import torchscript_file, torchscript_predict
from workers.trained.formats.traced import arguments_of
from workers.trained.load import TrainedModel

Written = Callable[[TrainedModel, Facts, Path], Predict]
"""Writes a model in a format, and returns what computes its outputs."""


def as_onnx(model: TrainedModel, facts: Facts, _: Path) -> Predict:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx: onnx and onnxruntime")
    example = MadeUpRows(model.job.data, facts).example()
    return onnx_predict(onnx_file(predictor_of(model, facts), example, facts), facts, 1)


def as_torchscript(model: TrainedModel, facts: Facts, _: Path) -> Predict:
    example = MadeUpRows(model.job.data, facts).example()
    return torchscript_predict(torchscript_file(predictor_of(model, facts), example, facts), facts)


def as_bundle(model: TrainedModel, facts: Facts, folder: Path) -> Predict:
    for name, content in bundle_files(model, facts, {}).items():
        (folder / name).write_bytes(content)
    with bundle_predict(folder, facts) as predict:
        return predict


every_format = pytest.mark.parametrize("written", [as_onnx, as_torchscript, as_bundle])


def agreement_of(written: Written, model: TrainedModel, folder: Path) -> Agreement:
    facts = facts_of(model, None)
    predict = written(model, facts, folder)
    batches = MadeUpRows(model.job.data, facts).batches(64)
    assert len({tuple(batch.inputs.shape) for batch in batches}) >= 3
    found = compare(predict, batches, model).in_float32
    assert found.num_rows == sum(map(len, batches))
    return found


@every_format
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_gives_the_same_outputs(
    written: Written, kind: str, tmp_path: Path
) -> None:
    found = agreement_of(written, trained(job_of(tmp_path, kind)), tmp_path)
    assert found.is_close, found


@every_format
@pytest.mark.parametrize(
    ("cell", "pooling", "bidirectional"),
    list(
        itertools.product(
            ["rnn", "lstm", "gru"], ["last", "mean", "max", "mean-max"], [False, True]
        )
    ),
)
def test_every_network_reads_sequences_of_different_lengths(
    written: Written, cell: str, pooling: str, bidirectional: bool, tmp_path: Path
) -> None:
    config = {"cell": cell, "pooling": pooling, "bidirectional": bidirectional}
    found = agreement_of(written, trained(job_of(tmp_path, "vectors", **config)), tmp_path)
    assert found.is_close, found


@every_format
def test_what_stands_in_the_padding_changes_nothing(written: Written, tmp_path: Path) -> None:
    model = trained(job_of(tmp_path, "vectors", bidirectional=True, pooling="max"))
    predict = written(model, facts_of(model, None), tmp_path)
    batch = random_rows(model.job.data, 13).padded(MAX_LENGTH).batch()
    assert batch.lengths_N is not None
    is_padding = torch.arange(MAX_LENGTH) >= batch.lengths_N.unsqueeze(1)
    garbage = batch.inputs.clone()
    garbage[is_padding] = 77.0
    with torch.no_grad():
        wanted = predict(batch)
        found = predict(Batch(garbage, batch.targets_N, batch.lengths_N))
    torch.testing.assert_close(found, wanted)


@every_format
def test_a_missing_number_is_the_mean(written: Written, tmp_path: Path) -> None:
    data = shape_of(VECTORS.model_copy(update={"missing": "zero"}), CLASSES)
    model = trained(tiny_job(tmp_path, data=data))
    batch = random_rows(model.job.data, 13).batch()
    batch.inputs[:, 0, 1] = float("nan")
    predict = written(model, facts_of(model, None), tmp_path)
    found = compare(predict, [batch], model).in_float32
    assert found.is_close and found.num_rows == 13, found


def test_the_difference_to_a_run_in_bf16_is_said(tmp_path: Path) -> None:
    job = job_of(tmp_path, "vectors", hidden_size=64)
    training = job.training.model_copy(update={"precision": "bf16"})
    model = trained(job.model_copy(update={"training": training}))
    facts = facts_of(model, None)
    batches = MadeUpRows(job.data, facts).batches(64)
    found = compare(as_torchscript(model, facts, tmp_path), batches, model)
    assert found.in_float32.is_close
    assert found.in_own_precision is not None and 1e-4 < found.in_own_precision.difference < 0.2


def test_a_wrong_export_is_found(tmp_path: Path) -> None:
    model = trained(job_of(tmp_path, "vectors"))
    batches = MadeUpRows(model.job.data, facts_of(model, None)).batches(64)

    def shifted(batch: Batch) -> torch.Tensor:
        return model_outputs(model.module, batch, model.job).softmax(dim=1) + 2e-5

    def exchanged(batch: Batch) -> torch.Tensor:
        return model_outputs(model.module, batch, model.job).softmax(dim=1).flip(1)

    def lost(batch: Batch) -> torch.Tensor:
        return torch.full((len(batch), 2), float("nan"))

    assert compare(shifted, batches, model).in_float32.other_classes == 0
    assert compare(exchanged, batches, model).in_float32.other_classes > 0
    assert not any(compare(f, batches, model).in_float32.is_close for f in (shifted, lost))


def test_an_onnx_file_says_what_it_reads_and_returns(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")

    def of(kind: str) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        model = trained(job_of(tmp_path, kind))
        facts = facts_of(model, None)
        example = MadeUpRows(model.job.data, facts).example()
        file = onnx.load_model_from_string(onnx_file(predictor_of(model, facts), example, facts))
        values = [*file.graph.input, *file.graph.output]
        sizes = {
            value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in values
        }
        assert facts["weights_sha256"] in {entry.value for entry in file.metadata_props}
        return {entry.key: entry.value for entry in file.metadata_props}, sizes

    metadata, sizes = of("images")
    assert sizes == {"inputs": ["batch", 5, 6], "probabilities": ["batch", 3]}
    assert json.loads(metadata["classes"]) == ["0", "1", "2"]
    metadata, sizes = of("tokens")
    assert sizes["inputs"] == ["batch", "time"] and sizes["lengths"] == ["batch"]
    assert json.loads(metadata["vocabulary"]) == ["a", "b", "c"]
    metadata, sizes = of("numbers")
    assert sizes == {"inputs": ["batch", "time", 3], "lengths": ["batch"], "numbers": ["batch"]}
    assert json.loads(metadata["features"]) == ["x"] and metadata["target"] == "y"
    assert of("equal")[1]["inputs"] == ["batch", "time", 3]


def test_an_invalid_graph_is_one_line_of_cause_and_one_of_cure(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx: onnx and onnxruntime")
    with pytest.raises(JobError) as raised:
        onnx_predict(b"no graph", facts_of(trained(job_of(tmp_path, "vectors")), None), 1)
    assert "cannot be exported as ONNX" in raised.value.cause
    assert raised.value.cure.endswith("--format bundle") and "\n" not in raised.value.cause


def test_made_up_rows_are_of_the_form_of_the_data_set(tmp_path: Path) -> None:
    facts = facts_of(trained(job_of(tmp_path, "vectors")), None)
    for batch in MadeUpRows(shape_of(VECTORS, CLASSES), facts).batches(64):
        assert batch.lengths_N is not None and batch.lengths_N.max() == batch.inputs.shape[1]
        assert arguments_of(batch, facts)[1].dtype == torch.int64
