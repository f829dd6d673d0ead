"""Files of a run follow the umask of its owner, and no secret of the environment is in any file."""

import contextlib
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import ENOUGH_S, RNNJOB, Cli, command_of, started_by_tests

PLANTED = {
    "RAY_AUTH_TOKEN": "planted-ray-token-0123456789abcdef",
    "RNNJOB_HEADERS": '{"X-Proxy-Key": "planted-header-0123456789"}',
    "AWS_ACCESS_KEY_ID": "AKIAPLANTED0123456789",
    "AWS_SECRET_ACCESS_KEY": "planted/aws/secret/0123456789",
    "AWS_SESSION_TOKEN": "planted-aws-session-0123456789",
    "WANDB_API_KEY": "planted-key-of-a-service-0123456789",
}
SECRETS = [value.split('"')[-2] if '"' in value else value for value in PLANTED.values()]
JOB = ("submit", "--dataset", "mnist-sample", "--epochs", "1", "--run-id", "r")


@contextlib.contextmanager
def started(
    cli: Cli, umask: int, *words: str, **environment: str
) -> "Iterator[subprocess.Popen[str]]":
    with subprocess.Popen(
        [str(RNNJOB), *words],
        cwd=cli.cwd,
        env={**cli.environment, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        umask=umask,
        start_new_session=True,
    ) as job:
        try:
            yield job
        finally:
            job.terminate()  # if the test has failed; the job then ends itself


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def with_other_modes(folder: Path, umask: int) -> list[str]:
    """Return what does not have the mode that this umask gives to a new file or folder."""
    paths = [folder, *folder.rglob("*")]
    assert len(paths) > 10
    wanted = {path: (0o777 if path.is_dir() else 0o666) & ~umask for path in paths}
    return [f"{path} {mode_of(path):o}" for path in paths if mode_of(path) != wanted[path]]


def files_below(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield the files with their content. Files that go away meanwhile are left out."""
    for parent, _, names in os.walk(folder):
        for path in (Path(parent) / name for name in names):
            try:
                if path.is_file():
                    yield path, path.read_bytes()
            except OSError:
                continue


def files_with(folder: Path, secrets: list[str]) -> set[str]:
    """Return the files that hold a secret, and which one."""
    return {
        f"{path}: {secret}"
        for path, data in files_below(folder)
        for secret in secrets
        if secret.encode() in data or secret.encode() in os.fsencode(path)
    }


@pytest.mark.parametrize("umask", [0o077, 0o022, 0o002], ids=oct)
def test_run_folder_and_cache_follow_the_umask(rnnjob: Cli, umask: int) -> None:
    cache = rnnjob.cwd / "cache"
    job = (*JOB, "--local")
    with started(rnnjob, umask, *job, RNNJOB_CACHE_DIR=str(cache), **PLANTED) as process:
        output, _ = process.communicate(timeout=ENOUGH_S)
    assert process.returncode == 0, output
    assert with_other_modes(rnnjob.cwd / "runs", umask) == []
    assert with_other_modes(cache, umask) == []
    assert files_with(rnnjob.cwd, SECRETS) == set()
    assert not [secret for secret in SECRETS if secret in output]


def test_a_ray_of_this_machine_writes_no_secret_and_lets_no_other_user_in(
    rnnjob: Cli, temp_root: Path, no_process_left: None
) -> None:
    umask = 0o077
    before, earlier = started_by_tests(temp_root), set(temp_root.iterdir())
    found: set[str] = set()
    ray_files: set[str] = set()
    own_tokens: set[str] = set()
    with started(rnnjob, umask, *JOB, "--workers", "1", **PLANTED) as job:
        while job.poll() is None:
            folders = [path for path in temp_root.glob("rnnjob-*") if path not in earlier]
            assert {mode_of_if_there(path) for path in folders} <= {None, 0o700}
            processes = started_by_tests(temp_root) - before
            own_tokens |= set(filter(None, map(token_of, processes)))
            secrets = [*SECRETS, *own_tokens]
            for folder in folders:
                ray_files |= {path.name for path, _ in files_below(folder)}
                found |= files_with(folder, secrets)
            words = {word for process in processes for word in command_of(process)}
            found |= {word for word in words for secret in secrets if secret in word}
            time.sleep(0.1)
        output, _ = job.communicate(timeout=ENOUGH_S)
    assert job.returncode == 0, output
    assert {"gcs_server.out", "raylet.out"} <= ray_files and own_tokens - set(SECRETS)
    assert found == set()
    assert files_with(rnnjob.cwd, [*SECRETS, *own_tokens]) == set()
    assert not [secret for secret in SECRETS if secret in output]
    assert with_other_modes(rnnjob.cwd / "runs", umask) == []
    assert (rnnjob.cwd / "runs" / "r" / "logs" / "worker-0.log").exists()


def mode_of_if_there(path: Path) -> int | None:
    try:
        return mode_of(path)
    except FileNotFoundError:
        return None


def token_of(process: psutil.Process) -> str | None:
    """Return the token that a process has in its environment."""
    try:
        return process.environ().get("RAY_AUTH_TOKEN")
    except psutil.Error:
        return None
