"""Build a spec from a preset, a YAML file, `--set` and flags, or read it from a job.yaml.

Precedence: flag > --set > file > preset > environment > default.
"""

import copy
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.datasets.options import TABLE_PREFIX
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.presets import PRESETS
from orchestrator.spec.tree import (
    SpecError,
    Tree,
    leaves,
    merge,
    nearest,
    parse_assignment,
    parse_yaml,
    read_file,
    set_key,
)
from orchestrator.spec.validation import THE_SPEC, validated, without_empty_sections

_MAX_NAME = 40
"""The most characters of a name that is made of those of data and model."""


def build_spec(
    preset: str | None = None,
    file: Path | None = None,
    assignments: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
) -> JobSpec:
    """Return the spec of a submission.

    Args:
        preset: a name of `PRESETS`.
        file: a YAML file with any of the spec's keys.
        assignments: texts `a.b=value`, whose value is read as YAML.
        flags: the values of the flags that were given, by dotted key.
        environment: the values from environment variables, by dotted key.

    Raises:
        SpecError: names the key, its value, what is allowed, and the nearest valid key.
    """
    tree: Tree = {}
    origins: dict[str, str] = {}
    for key, value in (environment or {}).items():
        set_key(tree, key, value)
    if preset is not None:
        if preset not in PRESETS:
            raise SpecError(f"no preset '{preset}'", nearest(preset, PRESETS))
        for key, value in copy.deepcopy(PRESETS[preset]).items():
            set_key(tree, key, value)
    if file is not None:
        content = without_empty_sections(JobSpec, read_file(file))
        merge(tree, content)
        _let_epochs_win(tree, leaves(content))
        origins.update(dict.fromkeys(leaves(content), str(file)))
    for assignment in assignments:
        key, value = parse_assignment(assignment)
        set_key(tree, key, value)
        given = leaves(value, f"{key}.") if isinstance(value, dict) else [key]
        _let_epochs_win(tree, given)
        origins.update(dict.fromkeys(given, THE_SPEC))
        _let_model_win(tree, given)
    for key, value in (flags or {}).items():
        set_key(tree, key, value)
        origins[key] = THE_SPEC
    _let_model_win(tree, flags or {})
    _let_epochs_win(tree, flags or {})
    spec = validated(JobSpec, tree, origins)
    return spec if "name" in tree else spec.with_values({"name": default_name(spec)})


def default_name(spec: JobSpec) -> str:
    """Return the name of a job that has none: its data and its model, such as `gestures-lstm`."""
    model = spec.model
    if not spec.dataset.is_table and model.class_path is None:
        return spec.name
    data = spec.dataset.name.removeprefix(TABLE_PREFIX)
    parts = data.partition("?")[0].split("/")
    last = next((part for part in reversed(parts) if part and not set(part) & set("*[")), "data")
    stem = last.removesuffix(".parquet")
    kind = model.class_path.rpartition(":")[2] if model.class_path else model.cell
    words = (re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-") for word in (stem, kind))
    return "-".join(filter(None, words))[:_MAX_NAME].lower() or "job"


def _let_epochs_win(tree: Tree, given: Collection[str]) -> None:
    """Remove `training.steps`, set by an earlier source, if `given` has `training.epochs` only."""
    if "training.epochs" in given and "training.steps" not in given:
        tree["training"].pop("steps", None)


def _let_model_win(tree: Tree, given: Collection[str]) -> None:
    """Remove the hash of an earlier source's model if `given` names another model."""
    if "model.class_path" in given and "model.code_sha256" not in given:
        tree["model"].pop("code_sha256", None)


def load_spec(text: str, where: str) -> JobSpec:
    """Return the spec in the text of a job.yaml. Raises SpecError, which names `where`."""
    content = parse_yaml(text, where)
    if not isinstance(content, dict):
        raise SpecError(
            f"{where} does not hold a mapping of keys", "see rnnjob submit --print-config"
        )
    return validated(JobSpec, content, dict.fromkeys(leaves(content), where))
