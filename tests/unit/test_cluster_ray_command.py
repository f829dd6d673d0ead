"""What Ray says, made short."""

import pytest

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


def test_of_a_traceback_the_error_is_kept() -> None:
    kept = [line for line in without_tracebacks(TRACEBACK.splitlines()) if line]
    assert kept == [
        "Cluster: rnnjob",
        "ModuleNotFoundError: No module named 'boto3'",
        "ImportError: install it with `pip install boto3`.",
    ]
