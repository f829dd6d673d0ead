"""The output of Ray's command line, shortened."""

import tempfile
from pathlib import Path

import pytest

from orchestrator.cluster import ray_command
from orchestrator.cluster.ray_command import last_useful_line, without_tracebacks

TRACEBACK = """\
Cluster: rnnjob
Traceback (most recent call last):
  File "providers.py", line 32, in _import_aws
    import boto3
    ^^^^^^^^^^^^
ModuleNotFoundError: No module named 'boto3'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "scripts.py", line 3021, in main
ImportError: install it with `pip install boto3`.
"""


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("", ""),
        ("\n--------\n \n", ""),
        ("one\n\x1b[31mtwo\x1b[39m\n-----\n\n", "two"),
        (TRACEBACK, "ImportError: install it with `pip install boto3`."),
        ("why it failed\nAborted!\n", "why it failed"),
    ],
)
def test_the_last_useful_line_is_found(output: str, line: str) -> None:
    assert last_useful_line(output) == line


def test_a_long_line_is_cut() -> None:
    assert len(last_useful_line("x" * 10_000)) == 300


def test_only_the_error_of_a_traceback_is_kept() -> None:
    kept = [line for line in without_tracebacks(TRACEBACK.splitlines()) if line]
    assert kept == [
        "Cluster: rnnjob",
        "ModuleNotFoundError: No module named 'boto3'",
        "ImportError: install it with `pip install boto3`.",
    ]


@pytest.mark.parametrize(
    ("name", "is_taken"), [("abcd", True), ("abcdef", False), ("\u00e9\u00e9\u00e9", False)]
)
def test_a_short_temporary_folder_is_taken_and_a_long_one_is_not(
    monkeypatch: pytest.MonkeyPatch, name: str, is_taken: bool
) -> None:
    """The kernel counts the bytes of a socket's path, and Ray's own part of it is long."""
    monkeypatch.setattr(tempfile, "tempdir", f"/tmp/{name}")
    assert ray_command.short_temp_dir() == (f"/tmp/{name}" if is_taken else "/tmp")


def test_a_temporary_folder_that_is_a_link_is_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes are recognised by their working directory, which is never a link."""
    link = tmp_path / "link"
    link.symlink_to("/var")
    monkeypatch.setattr(tempfile, "tempdir", str(link))
    assert ray_command.short_temp_dir() == "/var"
