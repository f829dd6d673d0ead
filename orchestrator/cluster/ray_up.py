"""Ray's own cluster launcher: check its file, and run `ray up` and `ray down` with it."""

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
    """Check a file with Ray's own validator. No request is sent to a cloud.

    Raises InputError. For a few errors Ray raises a Click exception, which the caller must handle.
    """
    content = _read(file)
    from jsonschema import ValidationError  # type: ignore[import-untyped]
    from ray.autoscaler._private.util import prepare_config, validate_config

    logging.getLogger("ray.autoscaler").setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            validate_config(prepare_config(content))
    except ValidationError as error:
        raise invalid_file(file, f"{error.json_path}: {error.message}") from error
    except (ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
        raise invalid_file(file, f"{type(error).__name__}: {error}") from error


def _read(file: Path) -> dict[str, object]:
    try:
        content = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise InputError(
            f"the cluster file {file} cannot be read: {error.strerror}",
            "name another file: rnnjob cluster up FILE.yaml; or start a cluster on this machine: "
            "rnnjob cluster up --local",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise invalid_file(file, f"it is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise invalid_file(file, "it is not a mapping of keys to values")
    return content


def invalid_file(file: Path, why: str) -> InputError:
    """Return the error for a file that Ray's cluster launcher would not accept."""
    return InputError(
        f"{file} is not a valid file for Ray's cluster launcher: {why}",
        "compare it with the cluster.yaml that comes with rnnjob",
    )


def run(verb: str, file: Path, echo: Callable[[str], None], verbose: bool = False) -> None:
    """Run `ray up -y FILE` or `ray down -y FILE`, and pass its output to `echo`, line by line.

    Raises ClusterError with the last useful line of the output if Ray fails.
    """
    command = [*ray_command.COMMAND, verb, "-y", str(file)]
    output = []
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
            output.append(line)
            echo(line)
    if process.returncode:
        why = ray_command.last_useful_line("\n".join(output)) or f"exit code {process.returncode}"
        raise ClusterError(
            f"ray {verb} {file} failed: {why}",
            "see Ray's output above; Ray needs the provider's package and credentials, and the "
            "values that are marked CHANGE in the file",
        )
