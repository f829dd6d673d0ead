"""What a caller gives in Python values, as what the rooms below want: a spec, and what is sent."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any, TypeAlias

from orchestrator.launch.request import Shipping
from orchestrator.spec.build import build_spec
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.tree import SpecError
from workers.errors import InputError

Spec: TypeAlias = JobSpec | Mapping[str, Any] | str | Path | None
_ENVIRONMENT = {"RNNJOB_STORAGE": "storage", "RNNJOB_DATA_DIR": "dataset.data_dir"}
"""Environment variables, and the keys of a spec that they set."""


def spec_from(
    spec: Spec, preset: str | None, workers: int | str | None, storage: str | Path | None
) -> JobSpec:
    """Return the spec of a new job. Raises SpecError."""
    given = {
        key: str(value)
        for key, value in {"scaling.workers": workers, "storage": storage}.items()
        if value is not None
    }
    if isinstance(spec, JobSpec):
        if preset is not None:
            raise SpecError(
                f"the preset '{preset}' has nothing to say in a JobSpec, which is complete",
                "leave it out, or give a mapping of keys instead",
            )
        return spec.with_values(given)
    file = Path(spec).expanduser() if isinstance(spec, str | Path) else None
    if file and not file.is_file():
        raise SpecError(
            f"there is no file {file}", "give the path of a YAML file, or a mapping of keys"
        )
    values = given if file or spec is None else {**values_from(spec), **given}
    environment = {
        key: os.environ[name] for name, key in _ENVIRONMENT.items() if os.environ.get(name)
    }
    return build_spec(preset, file, flags=values, environment=environment)


def values_from(values: Any) -> dict[str, Any]:
    """Return a mapping of dotted keys with values as YAML could hold them. Raises SpecError."""
    if not isinstance(values, Mapping):
        raise SpecError(
            f"a spec is a {type(values).__name__}",
            "give a mapping of dotted keys, the path of a YAML file, or a JobSpec",
        )
    for key in values:
        if not isinstance(key, str):
            raise SpecError(f"{key!r} is no key of a spec", 'keys are text: "training.epochs"')
    return {key: _plain(value) for key, value in values.items()}


def _plain(value: Any) -> Any:
    """Return a path as text, and a number of numpy or torch as a number of Python."""
    if isinstance(value, PurePath):
        return str(value)
    is_number = hasattr(value, "item") and getattr(value, "shape", None) == ()
    return value.item() if is_number else value


def shipping_from(
    working_dir: str | Path | None,
    include: Iterable[str],
    env: Mapping[str, str] | None,
    secrets: Iterable[str],
    cluster: str | None,
) -> Shipping:
    """Return what is sent to a cluster. Raises InputError if there is something but no cluster."""
    include, secrets = tuple(include), tuple(secrets)
    given = {"working_dir": working_dir, "include": include, "env": env, "secrets": secrets}
    first = next((name for name, value in given.items() if value), None)
    if first and cluster is None:
        raise InputError(
            f"{first} applies only to a job on a cluster, and no cluster is named",
            "name one: address=...; on this machine a job has this environment and folder anyway",
        )
    if include and working_dir is None:
        raise InputError("include needs a folder that is sent", "name it: working_dir=...")
    if missing := [name for name in secrets if name not in os.environ]:
        raise InputError(
            f"the secret {missing[0]} is not set in this environment",
            f'set it: os.environ["{missing[0]}"] = getpass.getpass()',
        )
    folder = Path(working_dir).resolve() if working_dir else None
    values = {name: os.environ[name] for name in secrets}
    return Shipping(folder, dict(env or {}), values, include)
