"""The shipped JSON schema, and the job.yaml that `rnnjob init` writes from it."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli import main
from orchestrator.spec.build import build_spec
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.presets import PRESETS
from orchestrator.spec.template import SCHEMA_FILE, job_template, schema_text
from orchestrator.spec.validation import dotted_keys
from tests.conftest import ROOT
from tests.unit.datasets.tables.made import rows, write

SCHEMA: Any = json.loads(schema_text())
WRITTEN_BY_RNNJOB = {"dataset.prepared", "dataset.fingerprint", "training.earlier_ends",
                     "model.code_sha256"}  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*arguments: str) -> Result:
    return CliRunner().invoke(main, ("init", *arguments))


def check(content: Any) -> None:
    jsonschema.validate(content, SCHEMA)


def test_the_schema_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "make_schema.py"))["render"]()
    assert schema_text() == made, "run: python scripts/make_schema.py"


def test_the_schema_is_one_and_describes_every_key() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    sections = {"": SCHEMA, **SCHEMA["$defs"]}
    bare = [
        f"{name}.{key}"
        for name, section in sections.items()
        for key, each in section.get("properties", {}).items()
        if not each.get("description")
    ]
    assert bare == []


@pytest.mark.parametrize("preset", PRESETS)
def test_whole_specs_fit_the_schema(preset: str) -> None:
    check(build_spec(preset).model_dump(mode="json"))


@pytest.mark.parametrize(
    "content",
    [{"modle": {}}, {"model": {"cell": "lstn"}}, {"training": {"epochs": 0}},
     {"training": {"optimizer": {"lr": -1}}}, {"dataset": {"test_fraction": 1.5}}],
)  # fmt: skip
def test_the_schema_refuses_what_the_spec_refuses(content: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check(content)


def test_the_file_is_a_job_with_the_defaults_and_names_every_key(folder: Path) -> None:
    done = init("--dataset", "mnist-sample")
    assert done.exit_code == 0, done.stderr
    text = (folder / "job.yaml").read_text()
    check(yaml.safe_load(text))
    assert text.startswith(f"# yaml-language-server: $schema={SCHEMA_FILE.as_uri()}\n")
    wanted = build_spec(flags={"dataset.name": "mnist-sample"})
    assert build_spec(file=folder / "job.yaml") == wanted
    last_parts = {key.rpartition(".")[2] for key in set(dotted_keys(JobSpec)) - WRITTEN_BY_RNNJOB}
    assert last_parts == set(re.findall(r"^ *(?:# )?([a-z_]+):", text, re.M))


def test_with_all_comments_removed_it_says_the_defaults(folder: Path) -> None:
    text = job_template({"dataset.name": "mnist"}, "x")
    (folder / "whole.yaml").write_text(re.sub(r"^( *)# (?=[a-z_]+: )", r"\1", text, flags=re.M))
    assert build_spec(file=folder / "whole.yaml") == JobSpec()
    check(yaml.safe_load((folder / "whole.yaml").read_text()))


@given(
    st.fixed_dictionaries(
        {"dataset.name": st.sampled_from(["mnist", "parquet:/a b/*.parquet"])},
        optional={
            "training.optimizer.lr": st.floats(1e-6, 1.0),
            "model.cell": st.sampled_from(["rnn", "gru"]),
            "scaling.workers": st.sampled_from(["1:4", 2]),
            "limits.time": st.sampled_from(["2h", "2:4", None]).filter(lambda v: v != "2:4"),
            "storage": st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1)
            .filter(lambda v: "@" not in v),
        },
    )
)  # fmt: skip
def test_any_values_come_back_from_the_file(values: dict[str, Any]) -> None:
    file = Path("any.yaml")
    file.write_text(job_template(values, "x"))
    spec = build_spec(file=file)
    assert spec.with_values({"name": "n"}) == build_spec(flags={**values, "name": "n"})


def test_it_overwrites_nothing(folder: Path) -> None:
    (folder / "job.yaml").write_text("mine")
    done = init()
    assert done.exit_code == 2
    assert "job.yaml exists already" in done.stderr and "Try: name another file" in done.stderr
    assert (folder / "job.yaml").read_text() == "mine"
    assert init("-o", "other.yaml").exit_code == 0


@pytest.mark.parametrize("arguments", [["--set", "model.cel=gru"], ["--preset", "seeed"]])
def test_a_wrong_value_leaves_no_file(arguments: list[str], folder: Path) -> None:
    done = init(*arguments)
    assert (done.exit_code, "did you mean" in done.stderr) == (2, True)
    assert not (folder / "job.yaml").exists()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("value", ["training.seed=3", "training.class_weights={7: 2.5}"])
def test_a_preset_and_set_values_are_in_the_file(preset: str, value: str, folder: Path) -> None:
    assert init("--preset", preset, "--set", value).exit_code == 0
    wanted = build_spec(preset, assignments=[value])
    assert build_spec(file=folder / "job.yaml").with_values({"name": wanted.name}) == wanted


def test_of_tables_the_columns_are_found(folder: Path) -> None:
    write(folder / "rows.parquet", rows())
    done = init("--dataset", "parquet:rows.parquet", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["set"]["dataset.target"] == "y"
    spec = build_spec(file=folder / "job.yaml")
    assert (spec.dataset.inputs, spec.dataset.target) == (("x",), "y")


def test_tables_that_cannot_be_read_are_refused() -> None:
    done = init("--dataset", "parquet:nothing.parquet")
    assert done.exit_code == 2 and "nothing.parquet" in done.stderr
    assert not Path("job.yaml").exists()


def test_the_schema_is_printed() -> None:
    assert json.loads(init("--print-schema").stdout) == SCHEMA
