"""Building one validated spec from presets, files, --set and flags."""

import copy
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.cli.jobs.submit import submit_command
from orchestrator.spec.build import build_spec, load_spec
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.presets import PRESETS
from orchestrator.spec.tree import SpecError
from workers.config import TrainingConfig

DATA = "d" * 64


def refused(*assignments: str, **more: Any) -> SpecError:
    with pytest.raises(SpecError) as caught:
        build_spec(assignments=assignments, **more)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.cause + caught.value.cure
    return caught.value


def file_of(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text)
    return path


def test_each_source_overrides_those_of_lower_precedence(tmp_path: Path) -> None:
    """The precedence is flag > --set > file > preset > environment > default."""
    key = "training.global_batch_size"
    sources: list[dict[str, Any]] = [
        {"environment": {key: 1024}},
        {"preset": "seed"},
        {"file": file_of(tmp_path, "training: {global_batch_size: 64}")},
        {"assignments": [f"{key}=32"]},
        {"flags": {key: 16}},
    ]
    given_so_far: dict[str, Any] = {}
    assert build_spec().training == TrainingConfig()
    for source, wanted in zip(sources, (1024, 128, 64, 32, 16), strict=True):
        given_so_far |= source
        assert build_spec(**given_so_far).training.global_batch_size == wanted


def test_a_file_changes_only_the_keys_that_it_names(tmp_path: Path) -> None:
    path = file_of(tmp_path, "training: {optimizer: {lr: 0.5}}\nmodel: {cell: gru}\n")
    spec = build_spec("seed", path)
    assert (spec.training.optimizer.lr, spec.training.optimizer.name) == (0.5, "sgd")
    assert (spec.model.cell, spec.model.head_init) == ("gru", "normal")


def test_a_section_set_as_a_whole_is_merged() -> None:
    spec = build_spec("seed", assignments=["training.optimizer={lr: 0.5}"])
    assert (spec.training.optimizer.name, spec.training.optimizer.lr) == ("sgd", 0.5)


def test_values_of_set_are_read_as_yaml() -> None:
    spec = build_spec(
        assignments=[
            "training.optimizer.lr=1e-3",
            "dataset.data_dir=null",
            "model.bidirectional=true",
            "limits.time=2h30m",
            "storage=s3://bucket/runs?region=x",
        ]
    )
    assert spec.training.optimizer.lr == 0.001
    assert spec.dataset.data_dir is None
    assert spec.model.bidirectional is True
    assert spec.limits.time == "2h30m"
    assert spec.storage == "s3://bucket/runs?region=x"


@pytest.mark.parametrize("way", ["flag", "set", "file"])
def test_a_range_of_workers_is_taken_as_it_is_written(tmp_path: Path, way: str) -> None:
    """YAML 1.1 reads 2:4 as the number 124, in base 60."""
    if way == "flag":
        spec = build_spec(flags={"scaling.workers": "2:4"})
    elif way == "set":
        spec = build_spec(assignments=["scaling.workers=2:4"])
    else:
        spec = build_spec(file=file_of(tmp_path, "scaling: {workers: 2:4}"))
    assert spec.scaling.workers == "2:4"
    assert spec.scaling.worker_range == (2, 4)


@pytest.mark.parametrize(("value", "workers"), [("3", (3, 3)), (3, (3, 3)), ("1:8", (1, 8))])
def test_a_worker_count_is_a_number_or_a_range(value: Any, workers: tuple[int, int]) -> None:
    assert build_spec(flags={"scaling.workers": value}).scaling.worker_range == workers


@pytest.mark.parametrize(
    "value", ["0", 0, -1, "4:2", "0:2", "1:2:3", "a", ":", "", 1.5, True, None]
)
def test_a_worker_count_that_is_neither_is_refused_with_its_value(value: Any) -> None:
    error = refused(flags={"scaling.workers": value})
    assert error.cause == f"scaling.workers is {value!r} in the spec"


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("training.epoch", "training.epochs"),
        ("epochs", "training.epochs"),
        ("model.hiden_size", "model.hidden_size"),
        ("lr", "training.optimizer.lr"),
        ("training.lr", "training.optimizer.lr"),
        ("trainign.epochs", "training"),
        ("training.optimizer.momentun", "training.optimizer.momentum"),
        ("num_workers", "scaling.workers"),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_key_is_named(key: str, near: str) -> None:
    error = refused(f"{key}=3")
    assert key.split(".")[0] in error.cause
    assert error.cure == f"did you mean '{near}'?"


def test_a_key_that_resembles_no_valid_key_is_refused_with_all_valid_keys_of_its_section() -> None:
    assert refused("zzz=1").cure.startswith("valid: name, dataset, model, augment, training, ")
    keys = ("shift_px", "rotate_deg", "scale", "shear", "noise", "offset")
    assert refused("augment.qqqqqq=1").cure == "valid: " + ", ".join(f"augment.{k}" for k in keys)


@pytest.mark.parametrize(
    ("assignment", "shown", "allowed"),
    [
        ("training.epochs=x", "training.epochs is 'x'", "valid integer"),
        ("training.epochs=true", "training.epochs is True", "valid integer"),
        ("training.epochs=2.5", "training.epochs is 2.5", "valid integer"),
        ("training.epochs=0", "training.epochs is 0", "greater than or equal to 1"),
        ("training.epochs=-1", "training.epochs is -1", "greater than or equal to 1"),
        ("model.hidden_size=0", "model.hidden_size is 0", "greater than or equal to 1"),
        ("dataset.num_shards=0", "dataset.num_shards is 0", "greater than or equal to 1"),
        ("training.global_batch_size=-8", "training.global_batch_size is -8", "greater than"),
        ("training.optimizer.lr=0", "training.optimizer.lr is 0", "greater than 0"),
        ("training.optimizer.lr=.nan", "training.optimizer.lr is nan", "finite"),
        ("training.seed=-1", "training.seed is -1", "greater than or equal to 0"),
        ("model.dropout=1", "model.dropout is 1", "less than 1"),
        ("model.cell=lstn", "model.cell is 'lstn'", "'rnn', 'lstm' or 'gru'"),
        ("model.bidirectional=1", "model.bidirectional is 1", "valid boolean"),
        ("limits.time=soon", "limits.time is 'soon'", "write 90s, 10m or 2h30m"),
        ("limits.time=0", "limits.time is 0", "must be above zero"),
        ("dataset.memory_budget=lots", "dataset.memory_budget is 'lots'", "write 1GiB or 500MB"),
        ("name=a/b", "name is 'a/b'", "pattern"),
        ("training=5", "training is 5", "dictionary"),
        ("dataset.validation_rows=some", "dataset.validation_rows is 'some'", "'auto'"),
    ],
)
def test_a_wrong_value_is_shown_with_its_key_and_what_is_allowed(
    assignment: str, shown: str, allowed: str
) -> None:
    error = refused(assignment)
    assert error.cause == f"{shown} in the spec"
    assert error.cure.startswith(assignment.partition("=")[0] + ": ")
    assert allowed in error.cure


def test_a_batch_that_the_shards_do_not_divide_is_refused_with_the_nearest_multiples() -> None:
    error = refused("training.global_batch_size=100")
    assert error.cause == "global_batch_size 100 is not a multiple of num_shards 8"
    assert error.cure == "take 96 or 104, or another num_shards"
    assert "take 8," in refused("training.global_batch_size=3").cure


@pytest.mark.parametrize(("value", "kept"), [(0, "0"), (1, "1"), (1.0, "1"), (0.5, "0.5")])
def test_a_share_of_a_gpu_is_written_as_people_write_it(value: float, kept: str) -> None:
    spec = build_spec(flags={"scaling.gpus_per_worker": value})
    assert f"gpus_per_worker: {kept}\n" in spec.to_yaml()
    assert load_spec(spec.to_yaml(), "here") == spec


@pytest.mark.parametrize("value", [2, 1.5, -1, 0.00001, True, "0.5", float("nan"), None])
def test_anything_but_a_share_of_one_gpu_is_refused(value: Any) -> None:
    with pytest.raises(SpecError, match="write 0, 1, or a fraction"):
        build_spec(flags={"scaling.gpus_per_worker": value})


@pytest.mark.parametrize("workers", ["9", "2:9"])
def test_more_workers_than_shards_are_refused_with_both_numbers(workers: str) -> None:
    error = refused(flags={"scaling.workers": workers})
    assert error.cause == "workers 9 is above num_shards 8, and each worker needs a shard"
    assert error.cure.startswith("take at most 8 workers, or more shards:")


def test_the_cure_for_more_workers_than_shards_is_one_that_works() -> None:
    """The batch is not a multiple of 9 shards. The cure must not lead to that error."""
    flags = {"scaling.workers": 9}
    _, _, assignment = refused(flags=flags).cure.partition("--set ")
    spec = build_spec(assignments=[assignment.split()[0].rstrip(",")], flags=flags)
    assert spec.scaling.worker_range == (9, 9)


def test_keeping_the_best_needs_validation_rows() -> None:
    none = "dataset.validation_rows=0"
    assert "--set training.keep=last" in refused(none, "training.keep=best").cure
    for keep in ("last", "auto"):
        assert build_spec(assignments=[none, f"training.keep={keep}"])


def test_epochs_override_the_steps_of_a_source_of_lower_precedence(tmp_path: Path) -> None:
    assert build_spec("seed").training.steps
    for spec in (
        build_spec("seed", assignments=["training.epochs=3"]),
        build_spec("seed", flags={"training.epochs": 3}),
    ):
        assert (spec.training.epochs, spec.training.steps) == (3, None)
    file = tmp_path / "job.yaml"
    file.write_text("training: {epochs: 3, steps: 20}")
    assert build_spec(file=file).training.steps == 20, "a file that sets both keeps its steps"
    both = {"training.epochs": 3, "training.steps": 9}
    assert build_spec("seed", flags=both).training.steps == 9


def test_an_unknown_preset_is_refused_and_the_nearest_preset_is_named() -> None:
    error = refused(preset="sed")
    assert (error.cause, error.cure) == ("no preset 'sed'", "did you mean 'seed'?")


@pytest.mark.parametrize("assignment", ["training.epochs", "=3", ""])
def test_an_assignment_without_key_or_value_is_refused_with_an_example(assignment: str) -> None:
    assert refused(assignment).cure == "for example --set training.epochs=3"


def test_a_key_through_a_value_is_refused() -> None:
    error = refused("name=x", "name.first=y")
    assert error.cause == "'name.first' goes through 'name', which is not a section"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("a: [", "spec.yaml is not valid YAML: "),
        ("[1]", "spec.yaml holds a list, not a mapping of keys"),
        ("just words", "spec.yaml holds a str, not a mapping of keys"),
        ("epochs: 3", "unknown key 'epochs' in "),
        ("{1: 2}", "Keys should be strings"),
        ("name: \x00", "spec.yaml is not valid YAML: "),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, cause: str) -> None:
    assert cause in refused(file=file_of(tmp_path, text)).cause


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    error = refused(file=tmp_path / "none.yaml")
    assert f"cannot read {tmp_path}/none.yaml" in error.cause
    assert error.cure == "check -c/--config"
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert "cannot read" in refused(file=tmp_path / "binary").cause


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    assert build_spec(file=file_of(tmp_path, "")) == build_spec()


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_spec_comes_back_from_its_yaml(preset: str) -> None:
    spec = build_spec(preset, flags={"scaling.workers": "1:2", "limits.time": "90s"})
    assert load_spec(spec.to_yaml(), "job.yaml") == spec
    assert yaml.safe_load(spec.to_yaml())["scaling"]["workers"] == "1:2"


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        build_spec().name = "other"


@pytest.mark.parametrize(
    "assignment",
    [
        "training.epochs=77",
        "training.seed=1",
        "training.optimizer.lr=0.5",
        "training.precision=bf16",
        "training.gradients=fused",
        "model.hidden_size=64",
        "augment.shift_px=1",
        "dataset.num_shards=4",
        "dataset.standardize=false",
        "dataset.test_head_rows=10",
    ],
)
def test_the_fingerprint_changes_with_all_that_decides_the_result(assignment: str) -> None:
    assert build_spec(assignments=[assignment]).fingerprint(DATA) != build_spec().fingerprint(DATA)


@pytest.mark.parametrize(
    "assignment",
    [
        "scaling.workers=4",
        "scaling.cpus_per_worker=3",
        "checkpoint.every_steps=5",
        "limits.time=1h",
        "limits.steps=3",
        "log.print_every_steps=9",
        "storage=/elsewhere",
        "name=other",
        "dataset.data_dir=/elsewhere",
        "dataset.memory_budget=2GiB",
    ],
)
def test_the_fingerprint_does_not_change_with_what_only_decides_the_speed(assignment: str) -> None:
    assert build_spec(assignments=[assignment]).fingerprint(DATA) == build_spec().fingerprint(DATA)


def test_the_fingerprint_changes_with_the_data() -> None:
    assert build_spec().fingerprint("e" * 64) != build_spec().fingerprint(DATA)


def test_the_seed_preset_is_the_classic_experiment() -> None:
    spec = build_spec("seed")
    training, model, dataset = spec.training, spec.model, spec.dataset
    assert (training.steps, training.global_batch_size, training.schedule) == (
        20000,
        128,
        "constant",
    )
    assert (training.optimizer.name, training.optimizer.lr) == ("sgd", 0.001)
    assert (model.cell, model.hidden_size, model.forget_bias) == ("lstm", 128, 1.0)
    assert (model.kernel_init, model.head_init) == ("glorot-uniform", "normal")
    assert (dataset.validation_rows, dataset.test_head_rows) == (5000, 6000)
    assert spec.log.print_every_steps == 100


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ({}, "mnist-lstm"),
        ({"dataset.name": "fashion-mnist", "model.cell": "gru"}, "mnist-lstm"),
        ({"dataset.name": "parquet:recordings/"}, "recordings-lstm"),
        ({"dataset.name": "parquet:a b/*.parquet", "model.cell": "gru"}, "a-b-gru"),
        ({"dataset.name": "parquet:s3://b/Taps.parquet?region=x"}, "taps-lstm"),
        ({"dataset.name": "parquet:/"}, "data-lstm"),
        ({"dataset.name": "parquet:taps", "model.class_path": "net.py:make"}, "taps-make"),
        ({"dataset.name": "parquet:taps", "name": "mine"}, "mine"),
        ({"dataset.name": "parquet:" + "\u00e4" * 99}, "lstm"),
        ({"dataset.name": "parquet:" + "a" * 99}, "a" * 40),
    ],
)
def test_a_job_without_a_name_is_named_after_its_data_and_its_model(
    flags: dict[str, Any], name: str
) -> None:
    assert build_spec(flags=flags).name == name


@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_is_a_valid_spec_and_the_help_names_it(preset: str) -> None:
    assert build_spec(preset).name == PRESETS[preset].get("name", JobSpec().name)
    option = next(each for each in submit_command.params if each.name == "preset")
    assert isinstance(option, click.Option) and f"'{preset}'" in (option.help or "")


def test_building_a_spec_leaves_the_presets_as_they_are() -> None:
    before = copy.deepcopy(PRESETS)
    build_spec("seed", assignments=["training.optimizer={lr: 0.25}"])
    build_spec("seed", assignments=["training.optimizer.lr=0.75"])
    assert before == PRESETS


@pytest.mark.parametrize(
    "text",
    [
        "name: !!timestamp 2001-99-99",
        "training: {epochs: 0x_}",
        "name: !!bool maybe",
        "name: !!timestamp never",
        "training: {epochs: 1" + "0" * 5000 + "}",
        "limits: {time: 1" + "0" * 400 + "}",
        "[" * 3000,
    ],
    ids=["date", "hex", "bool", "timestamp", "5,000 digits", "400 digits", "deep"],
)
def test_yaml_at_which_the_yaml_library_fails_is_refused_too(text: str) -> None:
    with pytest.raises(SpecError):
        load_spec(text, "job.yaml")


KEYS = st.sampled_from(
    [
        "dataset",
        "model",
        "training",
        "scaling",
        "limits",
        "optimizer",
        "epochs",
        "workers",
        "lr",
        "name",
        "num_shards",
        "validation_rows",
        "time",
        "memory_budget",
        "zzz",
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.dates()
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS | LEAVES, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(KEYS, TREES, max_size=4))
def test_any_tree_of_values_is_a_spec_or_a_spec_error(tree: dict[str, Any]) -> None:
    check_spec_or_spec_error(yaml.safe_dump(tree))


@given(st.text(alphabet="{}[]:,-&*!|>'\"%@#?~ \nabe019._=<\t", max_size=40) | st.text(max_size=30))
def test_any_text_is_a_spec_or_a_spec_error(text: str) -> None:
    check_spec_or_spec_error(text)


def check_spec_or_spec_error(text: str) -> None:
    try:
        spec = load_spec(text, "job.yaml")
    except SpecError as error:
        assert error.cause
        assert error.cure
    else:
        assert isinstance(spec, JobSpec)
        assert load_spec(spec.to_yaml(), "job.yaml") == spec
