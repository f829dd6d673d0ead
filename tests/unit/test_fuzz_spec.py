"""Spec files and --set values that nobody would write: a spec, or a line on what is wrong."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.job_spec import _ALL_DOTTED, JobSpec, build_spec, load_spec
from orchestrator.submission import check
from tests.unit.fakes import tiny_spec
from tests.unit.simulated import single, tiny_job
from workers.errors import DivergedError, InputError
from workers.train import train

KEYS = st.sampled_from(sorted({part for key in _ALL_DOTTED for part in key.split(".")}))
HOSTILE_TEXT = st.sampled_from(
    ["", "..", "../up", "/", "~", "~nobody-here/x", "a\0b", "\ud800", "²", "٣", "9" * 5000,
     "x" * 300, "nan", "1e999", "2:4", "[/b]", "a b", "\n", "{}", "s3://", "://", "file://", "http://["]
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**31, 2**63, 10**30, 10**400, -(10**400)])
    | st.floats()
    | st.text(max_size=8)
    | HOSTILE_TEXT
    | st.binary(max_size=4)
    | st.dates()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS | st.integers() | st.none() | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
TREES = st.dictionaries(
    KEYS | st.text(max_size=4),
    st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=2) | VALUES, max_size=3) | VALUES,
    max_size=3,
)


def built(**arguments: Any) -> JobSpec | None:
    """The spec, or None where it is refused in two short lines that can be printed."""
    try:
        spec = build_spec(**arguments)
    except InputError as error:
        assert error.cause and error.cure
        assert len(error.cause) < 2000 and len(error.cure) < 2000, "nobody reads that"
        return None
    assert load_spec(spec.to_yaml(), "itself") == spec
    return spec


def of_bytes(folder: Path, content: bytes) -> JobSpec | None:
    (folder / "job.yaml").write_bytes(content)
    return built(file=folder / "job.yaml")


@given(st.binary(max_size=60))
@settings(max_examples=150)
def test_any_bytes_are_a_spec_or_an_input_error(tmp_path: Path, content: bytes) -> None:
    of_bytes(tmp_path, content)


@given(st.text("abg:&*![]{}<>-?|#'\"%@ \n\t0.1e~=,", max_size=30))
@settings(max_examples=300)
def test_any_text_of_yaml_signs_is_a_spec_or_an_input_error(tmp_path: Path, text: str) -> None:
    of_bytes(tmp_path, text.encode())
    built(assignments=[f"model={text}", f"training.epochs={text}"])


@given(TREES)
@settings(max_examples=300)
def test_any_tree_of_known_keys_is_a_spec_or_an_input_error(tmp_path: Path, tree: Any) -> None:
    try:
        text = yaml.safe_dump(tree, allow_unicode=False)
    except ValueError:  # an integer too long for Python to write
        return
    of_bytes(tmp_path, text.encode())


@given(st.sampled_from(_ALL_DOTTED), VALUES)
@settings(max_examples=400)
def test_any_value_of_any_key_is_a_spec_or_an_input_error(key: str, value: Any) -> None:
    built(flags={key: value})
    try:
        text = yaml.safe_dump(value, default_flow_style=True, width=10**9)
    except ValueError:
        return
    built(assignments=[f"{key}={text}"])


@given(st.text(max_size=10) | HOSTILE_TEXT, st.text(max_size=10) | HOSTILE_TEXT)
def test_any_assignment_is_a_spec_or_an_input_error(key: str, value: str) -> None:
    built(assignments=[f"{key}={value}"])
    built(assignments=[key])


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        BOMB + "name: *a11\n",
        BOMB + "model: {cell: *a11}\n",
        MERGE_BOMB,
        MERGE_BOMB + "model: *a11\n",
        "&a [*a]",
        "dataset: &a {name: *a}",
        "&a {model: *a}",
        "&a {<<: *a, name: x}",
        "[" * 20_000,
        "{a: " * 5_000,
        "- " * 5_000,
        "a: " + "[" * 250 + "]" * 250,
        "name: " + "x" * 10**6,
        "model: [" + "x, " * 20_000 + "]",
    ],
    ids=["lists", "as name", "as cell", "merged", "merged as model", "itself", "in itself",
         "whole in itself", "merges itself", "deep", "deep mapping", "deep sequence", "nested",
         "long", "many"],
)  # fmt: skip
def test_a_small_text_that_unfolds_into_a_huge_tree_is_refused_at_once(
    tmp_path: Path, text: str
) -> None:
    began = time.monotonic()
    assert of_bytes(tmp_path, text.encode()) is None
    assert time.monotonic() - began < 10


def test_anchors_are_fine_where_they_stay_small(tmp_path: Path) -> None:
    text = "model: {hidden_size: &n 32, num_layers: 1}\ntraining: {epochs: *n}\n"
    spec = of_bytes(tmp_path, text.encode())
    assert spec is not None
    assert spec.model.hidden_size == spec.training.epochs == 32


@pytest.mark.parametrize(
    "text",
    [
        "name: a\nname: b\n",
        "model: {cell: gru, cell: rnn}",
        "training: {}\nmodel: {}\ntraining: {}",
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.yaml").write_text(text)
    with pytest.raises(InputError, match=r"'(name|cell|training)' stands twice.*line \d"):
        build_spec(file=tmp_path / "job.yaml")


def test_a_merged_key_may_be_set_anew(tmp_path: Path) -> None:
    text = "model: &m {cell: gru, num_layers: 2}\n"
    text += "training: {}\naugment: {}\n"
    (tmp_path / "job.yaml").write_text(text.replace("&m {cell", "{<<: {cell: rnn}, cell"))
    assert build_spec(file=tmp_path / "job.yaml").model.cell == "gru"


@pytest.mark.parametrize("name", ["2024-01-01", "2024-01-01-10"])
def test_a_name_that_looks_like_a_date_is_a_name(name: str) -> None:
    assert build_spec(assignments=[f"name={name}"]).name == name


def test_a_batch_without_small_divisors_is_refused_at_once() -> None:
    """The number of shards that is proposed must not be searched for ever."""
    began = time.monotonic()
    prime = 2**61 - 1
    flags = {"training.global_batch_size": prime, "dataset.num_shards": 1, "scaling.workers": 2}
    assert built(flags=flags) is None
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("key", ["dataset.data_dir", "storage"])
@pytest.mark.parametrize("path", ["~nobody-of-that-name/x", "a\0b", "\udcff", "x" * 5000])
def test_a_path_that_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, key: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tiny_spec(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError):
        check(build_spec(flags={**spec_flags(spec), key: path}), "local").create_run()
    after = [path for path in tmp_path.rglob("*") if "cache" not in path.parts]
    assert sorted(after) == before


def spec_flags(spec: JobSpec) -> dict[str, Any]:
    return json.loads(spec.model_dump_json())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.hidden_size", 10**12),
        ("model.hidden_size", 2**63),
        ("model.num_layers", 10**9),
        ("model.forget_bias", 1e300),
        ("model.forget_bias", -1e300),
        ("training.optimizer.weight_decay", 1e300),
        ("training.optimizer.lr", 1e300),
    ],
)
def test_a_number_that_no_model_could_have_is_refused(key: str, value: float) -> None:
    assert built(flags={key: value}) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {"forget_bias": 3e37}},
        {"model": {"forget_bias": -3e37}},
        {"model": {"dropout": 0.9999999999999999}},
        {"training": {"gradient_clip": 1e300}},
        {"training": {"gradient_clip": 5e-324}},
        {"training": {"optimizer": {"name": "adam", "weight_decay": 3e37}}},
        {"training": {"optimizer": {"name": "sgd", "lr": 5e-324, "weight_decay": 3e37}}},
        {"training": {"epochs": 10**400, "steps": 2, "keep": "last"}},
        {"training": {"steps": 10**400, "schedule": "cosine"}},
        {"training": {"global_batch_size": 4 * 10**30, "bptt_steps": 10**30}},
        {"augment": {"shift_px": 1e300}},
        {"augment": {"scale": 0.9999999999999999, "shear": 0.9999999999999999}},
        {"checkpoint": {"every_s": 1e300, "every_steps": 10**30, "keep_latest": 10**30}},
    ],
    ids=str,
)
def test_extreme_numbers_that_the_spec_takes_train_or_diverge(
    tmp_path: Path, changes: dict[str, dict[str, Any]]
) -> None:
    for section, values in changes.items():
        assert built(flags={section: values}) is not None
    job = tiny_job(tmp_path / "run", **changes)
    try:
        assert train(job, single(job, stop_after=2)).steps == 2
    except DivergedError as error:
        assert error.cure
