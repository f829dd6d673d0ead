"""Ray's own cluster launcher: `ray up` and `ray down` of a checked file."""

import contextlib
import io
import logging
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

from orchestrator.cluster import ray_command
from workers.errors import ClusterError, InputError


def check(file: Path) -> None:
    """Asks Ray's own validator; no cloud is asked.

    Raises InputError. Ray itself raises a Click exception for a few things: for the caller to map.
    """
    content = _read(file)
    from jsonschema import ValidationError  # type: ignore[import-untyped]
    from ray.autoscaler._private.util import prepare_config, validate_config

    logging.getLogger("ray.autoscaler").setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            validate_config(prepare_config(content))
    except ValidationError as error:
        raise refused(file, f"{error.json_path}: {error.message}") from error
    except (ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
        raise refused(file, f"{type(error).__name__}: {error}") from error


def _read(file: Path) -> dict[str, object]:
    try:
        content = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise InputError(
            f"the cluster file {file} cannot be read: {error.strerror}",
            "name one, rnnjob cluster up FILE.yaml; or --local for a cluster on this machine",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise refused(file, f"no YAML: {error}") from error
    if not isinstance(content, dict):
        raise refused(file, "no mapping of keys to values")
    return content


def refused(file: Path, why: str) -> InputError:
    return InputError(
        f"{file} is no file for Ray's cluster launcher: {why}",
        "compare it with the cluster.yaml that comes with rnnjob",
    )


def run(verb: str, file: Path, echo: Callable[[str], None], verbose: bool = False) -> None:
    """`ray up -y FILE` or `ray down -y FILE`; what Ray says goes to `echo`, line by line.

    Raises ClusterError where Ray fails, with its last word.
    """
    command = [*ray_command.COMMAND, verb, "-y", str(file)]
    said = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        lines = (line.rstrip("\n") for line in process.stdout)
        for line in lines if verbose else ray_command.without_tracebacks(lines):
            said.append(line)
            echo(line)
    if process.returncode:
        why = ray_command.last_useful_line("\n".join(said)) or f"exit code {process.returncode}"
        raise ClusterError(
            f"ray {verb} {file} failed: {why}",
            "see what Ray said above; it needs the provider's package and credentials, and the "
            "values of the file that are marked CHANGE",
        )
