"""The values that a shell offers at Tab, and the modules that this loads."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from orchestrator import runs
from orchestrator.cli import _COMMANDS, main
from tests.commands import output_of
from tests.conftest import ENOUGH_S

RNNJOB = Path(sys.executable).with_name("rnnjob")


@pytest.fixture(autouse=True)
def two_storages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make two storages of empty folders, since completion needs only the names of folders."""
    monkeypatch.chdir(tmp_path)
    for name in ("runs/alpha-1", "runs/alpha-2", "runs/.data", "other/beta"):
        (tmp_path / name).mkdir(parents=True)


def completions(line: str) -> list[str]:
    """Return the completions at the end of a command line. A space at its end begins a new word."""
    *words, incomplete = line.split(" ")
    completing = ShellComplete(main, {}, "rnnjob", "_RNNJOB_COMPLETE")
    return [item.value for item in completing.get_completions(words[1:], incomplete)]


def test_commands_and_options_are_completed() -> None:
    assert completions("rnnjob ") == list(_COMMANDS)
    assert completions("rnnjob st") == ["status", "stop"]
    assert completions("rnnjob cluster d") == ["down"]
    assert completions("rnnjob --ver") == ["--version"]
    assert {"--headers", "--verify", "--no-verify"} <= set(completions("rnnjob status --"))
    assert completions("rnnjob submit --keep") == ["--keep-latest"]


@pytest.mark.parametrize(
    "verb", ["show", "status", "describe", "logs", "wait", "why", "stop", "delete", "resume"]
)
def test_run_ids_come_from_the_storage_of_the_flag_or_the_environment(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert completions(f"rnnjob {verb} ") == ["alpha-1", "alpha-2", "@last"]
    assert completions(f"rnnjob {verb} alpha-2") == ["alpha-2"]
    assert completions(f"rnnjob {verb} --storage other ") == ["beta", "@last"]
    monkeypatch.setenv("RNNJOB_STORAGE", "other")
    assert completions(f"rnnjob {verb} b") == ["beta"]


def test_a_name_that_cannot_be_a_run_s_is_not_offered(tmp_path: Path) -> None:
    """A shell prints what it offers as it is, escapes included."""
    for name in ("\x1b[2Jx", "a\nplain,b", "x y", "-x"):
        (tmp_path / "runs" / name).mkdir()
    assert completions("rnnjob show ") == ["alpha-1", "alpha-2", "@last"]


@pytest.mark.parametrize("storage", ["none", "nowhere://x", "s3://me:word@bucket", "/proc/1/fd/x"])
def test_a_storage_that_cannot_be_read_has_no_runs_and_no_error(storage: str) -> None:
    assert completions(f"rnnjob show --storage {storage} ") == ["@last"]


def test_values_of_options_are_completed() -> None:
    states = [state for state in runs.STATES if state.startswith("R")]
    assert [state.upper() for state in completions("rnnjob list --state R")] == states
    for command in ("submit", "data prepare"):
        assert completions(f"rnnjob {command} --dataset mn") == ["mnist", "mnist-sample"]
    assert completions("rnnjob submit --preset s") == ["seed"]
    assert completions("rnnjob submit --precision ") == ["auto", "fp32", "bf16"]
    metrics = completions("rnnjob submit --metric ")
    assert metrics == ["validation_accuracy", "validation_loss"]
    for metric in metrics:  # the spec accepts each of them
        flags = ("submit", "--metric", metric, "--print-config")
        assert f"metric: {metric}\n" in CliRunner().invoke(main, flags).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_and_its_help_says_how_to_use_it(shell: str) -> None:
    script = CliRunner().invoke(main, ["completion", shell])
    assert script.exit_code == 0
    assert f"_RNNJOB_COMPLETE={shell}_complete" in script.stdout
    assert f"rnnjob completion {shell}" in CliRunner().invoke(main, ["completion", "-h"]).stdout
    assert CliRunner().invoke(main, ["completion", "csh"]).exit_code == 2


def test_bash_completes_with_the_script_that_is_printed() -> None:
    if (bash := shutil.which("bash")) is None:
        pytest.skip("needs bash")
    code = """
        eval "$(rnnjob completion bash)"
        COMP_WORDS=(rnnjob show al); COMP_CWORD=2
        $(complete -p rnnjob | sed 's/.*-F \\([^ ]*\\) .*/\\1/') rnnjob
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        [bash, "--norc", "-c", code],
        env={**os.environ, "PATH": f"{RNNJOB.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=ENOUGH_S,
    )
    assert (done.stdout, done.stderr) == ("alpha-1 alpha-2\n", "")


@pytest.mark.parametrize(
    ("line", "forbidden"),
    [
        ("rnnjob st", {"torch", "ray", "pydantic", "pyarrow", "numpy", "rich", "yaml"}),
        ("rnnjob show a", {"torch", "ray", "pydantic", "rich", "yaml"}),
        ("rnnjob submit --dataset m", {"torch", "ray", "pydantic", "rich"}),
    ],
)
def test_completing_imports_no_slow_package(line: str, forbidden: set[str]) -> None:
    code = (
        "import json, sys\n"
        "from orchestrator.cli import main\n"
        "try:\n    main(prog_name='rnnjob')\nexcept SystemExit:\n"
        "    print(json.dumps(list(sys.modules)))"
    )
    words = line.split(" ")
    variables = {
        "_RNNJOB_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    printed = output_of([sys.executable, "-c", code], env={**os.environ, **variables})
    *found, modules = printed.splitlines()
    assert found and all(item.startswith("plain,") for item in found)
    assert not forbidden & set(json.loads(modules))
