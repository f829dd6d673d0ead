"""Hostile spec files and --set values give a valid spec or an error that says what is wrong."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.launch.submission import check_new_run
from orchestrator.spec.build import build_spec, load_spec
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.validation import dotted_keys
from tests.unit.fakes import FakeLauncher, tiny_spec
from tests.unit.simulated import single, tiny_job
from workers.errors import DivergedError, InputError
from workers.train import train

KEYS = st.sampled_from(sorted({part for key in dotted_keys(JobSpec) for part in key.split(".")}))
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


def build_or_none(**arguments: Any) -> JobSpec | None:
    """Return the spec; None if it is refused in two short lines that can be printed."""
    try:
        spec = build_spec(**arguments)
    except InputError as error:
        assert error.cause and error.cure
        assert len(error.cause) < 2000 and len(error.cure) < 2000, "an error text is too long"
        return None
    assert load_spec(spec.to_yaml(), "itself") == spec
    return spec


def build_from_bytes(folder: Path, content: bytes) -> JobSpec | None:
    (folder / "job.yaml").write_bytes(content)
    return build_or_none(file=folder / "job.yaml")


@given(st.binary(max_size=60))
@settings(max_examples=150)
def test_any_bytes_are_a_spec_or_an_input_error(tmp_path: Path, content: bytes) -> None:
    build_from_bytes(tmp_path, content)


@given(st.text("abg:&*![]{}<>-?|#'\"%@ \n\t0.1e~=,", max_size=30))
@settings(max_examples=300)
def test_any_text_of_yaml_signs_is_a_spec_or_an_input_error(tmp_path: Path, text: str) -> None:
    build_from_bytes(tmp_path, text.encode())
    build_or_none(assignments=[f"model={text}", f"training.epochs={text}"])


@given(TREES)
@settings(max_examples=300)
def test_any_tree_of_known_keys_is_a_spec_or_an_input_error(tmp_path: Path, tree: Any) -> None:
    try:
        text = yaml.safe_dump(tree, allow_unicode=False)
    except ValueError:  # an integer too long for Python to write
        return
    build_from_bytes(tmp_path, text.encode())


@given(st.sampled_from(dotted_keys(JobSpec)), VALUES)
@settings(max_examples=400)
def test_any_value_of_any_key_is_a_spec_or_an_input_error(key: str, value: Any) -> None:
    build_or_none(flags={key: value})
    try:
        text = yaml.safe_dump(value, default_flow_style=True, width=10**9)
    except ValueError:
        return
    build_or_none(assignments=[f"{key}={text}"])


@given(st.text(max_size=10) | HOSTILE_TEXT, st.text(max_size=10) | HOSTILE_TEXT)
def test_any_assignment_is_a_spec_or_an_input_error(key: str, value: str) -> None:
    build_or_none(assignments=[f"{key}={value}"])
    build_or_none(assignments=[key])


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
        "model: [" + "x, " * 300_000 + "]",
    ],
    ids=["lists", "as name", "as cell", "merged", "merged as model", "itself", "in itself",
         "whole in itself", "merges itself", "deep", "deep mapping", "deep sequence", "nested",
         "long", "many", "very many"],
)  # fmt: skip
def test_a_small_text_that_expands_to_a_huge_tree_is_refused_at_once(
    tmp_path: Path, text: str
) -> None:
    began = time.process_time()  # of this process: no other slows it down
    assert build_from_bytes(tmp_path, text.encode()) is None
    assert time.process_time() - began < 10


def test_anchors_are_allowed_if_the_tree_stays_small(tmp_path: Path) -> None:
    text = "model: {hidden_size: &n 32, num_layers: 1}\ntraining: {epochs: *n}\n"
    spec = build_from_bytes(tmp_path, text.encode())
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
def test_a_key_that_is_given_twice_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.yaml").write_text(text)
    with pytest.raises(InputError, match=r"'(name|cell|training)' is given twice.*line \d"):
        build_spec(file=tmp_path / "job.yaml")


def test_a_merged_key_may_be_overridden(tmp_path: Path) -> None:
    text = "model: &m {cell: gru, num_layers: 2}\n"
    text += "training: {}\naugment: {}\n"
    (tmp_path / "job.yaml").write_text(text.replace("&m {cell", "{<<: {cell: rnn}, cell"))
    assert build_spec(file=tmp_path / "job.yaml").model.cell == "gru"


@pytest.mark.parametrize("name", ["2024-01-01", "2024-01-01-10"])
def test_a_name_that_looks_like_a_date_is_a_name(name: str) -> None:
    assert build_spec(assignments=[f"name={name}"]).name == name


def test_a_batch_without_small_divisors_is_refused_at_once() -> None:
    """The search for a number of shards to propose must end soon."""
    began = time.process_time()  # of this process: no other slows it down
    prime = 2**61 - 1
    flags = {"training.global_batch_size": prime, "dataset.num_shards": 1, "scaling.workers": 2}
    assert build_or_none(flags=flags) is None
    assert time.process_time() - began < 2


@pytest.mark.parametrize("key", ["dataset.data_dir", "storage"])
@pytest.mark.parametrize("path", ["~nobody-of-that-name/x", "a\0b", "\udcff", "x" * 5000])
def test_an_impossible_path_is_refused_before_anything_is_written(
    tmp_path: Path, key: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tiny_spec(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError):
        check_new_run(
            build_spec(flags={**spec_flags(spec), key: path}), FakeLauncher()
        ).create_run()
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
    assert build_or_none(flags={key: value}) is None


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
def test_a_job_with_extreme_numbers_that_the_spec_allows_trains_or_diverges(
    tmp_path: Path, changes: dict[str, dict[str, Any]]
) -> None:
    for section, values in changes.items():
        assert build_or_none(flags={section: values}) is not None
    job = tiny_job(tmp_path / "run", **changes)
    try:
        assert train(job, single(job, stop_after=2)).steps == 2
    except DivergedError as error:
        assert error.cure
