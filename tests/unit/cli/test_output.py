"""Text that is printed cannot drive a terminal, and no module prints past the function for it."""

import ast
import io
import json
import logging
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from orchestrator import runs
from orchestrator.cli import main
from orchestrator.cli.output import Styled, echo, print_json, print_logs_and_tracebacks, printable
from orchestrator.display.console import PrintableConsole
from orchestrator.runs import RunStatus
from tests.conftest import ROOT
from tests.unit.recording_cluster import recording_cluster
from workers.storage.storage import Storage

CLI = ROOT / "orchestrator" / "cli"
EVIL = "\x1b]0;x\x07\x1b[38;5;123mred\x9b2J\x00\x08\r\x7f\u202e\u2066end"
SHOWN = r"\x1b]0;x\x07\x1b[38;5;123mred\x9b2J\x00\x08\r\x7f\u202e\u2066end"


def has_no_command(text: str) -> bool:
    """Whether a terminal only shows the text, line by line."""
    return printable(text) == text


def test_what_a_terminal_obeys_is_shown_as_an_escape_and_all_else_as_it_is() -> None:
    assert printable(EVIL) == SHOWN
    harmless = "two\nlines\tand é, 日本, שלום, 🙂, \\x1b, [red], \ud800"
    assert printable(harmless) == harmless


@given(st.text())
def test_any_text_is_printable_after_that(text: str) -> None:
    shown = printable(text)
    controls = {chr(i) for i in (*range(32), *range(0x7F, 0xA0), *range(0x202A, 0x202F))}
    assert not set(shown) & (controls | {chr(i) for i in range(0x2066, 0x206A)}) - {"\n", "\t"}
    assert printable(shown) == shown


def test_only_styled_parts_have_colours(capsys: pytest.CaptureFixture[str]) -> None:
    echo(Styled("Error:", "red"), f" {EVIL}", err=True)
    echo(Styled(EVIL, bold=True), "!", nl=False)
    out, err = capsys.readouterr()
    assert (out, err) == (f"{SHOWN}!", f"Error: {SHOWN}\n")


def test_a_table_a_line_and_a_live_display_of_rich_show_escapes() -> None:
    console = PrintableConsole(file=io.StringIO(), width=200)
    table = Table(EVIL, title=EVIL)
    table.add_row(EVIL)
    console.print(EVIL, table)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.count(SHOWN) == 4
    assert has_no_command(text)


def test_json_is_valid_and_drives_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({EVIL: EVIL})
    text = capsys.readouterr().out
    assert has_no_command(text)
    assert json.loads(text) == {EVIL: EVIL}


def test_log_messages_and_the_traceback_of_an_error_show_escapes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    print_logs_and_tracebacks()
    logging.getLogger("workers.test").warning("skipping %s", EVIL)
    sys.excepthook(ValueError, ValueError(EVIL), None)
    assert capsys.readouterr().err == f"skipping {SHOWN}\nValueError: {SHOWN}\n"


@pytest.mark.slow
def test_what_ray_jobs_reports_shows_escapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with recording_cluster() as cluster:
        monkeypatch.setenv("RAY_API_SERVER_ADDRESS", cluster.address)
        storage = Storage(str(tmp_path))
        run = runs.create_run(storage, "r", "name: x\n", "cluster", cluster.address)
        job = {"status": "FAILED", "message": EVIL, "error_type": EVIL, "driver_exit_code": 1}
        monkeypatch.setattr(cluster, "answer", lambda _: (200, job))
        for state in (runs.PENDING, runs.FAILED):
            status = RunStatus("r", state, "cluster", address=cluster.address)
            runs.write_status(run, status)
            for verb in ("describe", "why"):
                done = CliRunner().invoke(main, (verb, "r", "--storage", str(tmp_path)))
                assert done.exit_code == 0
                assert has_no_command(done.output)
                assert r"\x9b2J" in done.output


MAY_PRINT = {"output.py", "console.py"}
"""The modules that clean text and print it. All others use them."""
PRINTING = {
    *("print", "input", "sys.stdout.write", "sys.stderr.write", "os.write", "warnings.warn"),
    *("click.echo", "click.secho", "click.style", "click.confirm", "click.prompt"),
    *("click.echo_via_pager", "click.progressbar", "traceback.print_exc"),
    *("rich.print", "rich.console.Console", "rich.text.Text", "rich.markup.render"),
    *("logging.basicConfig", "logging.StreamHandler"),
}


def printing_names(file: Path) -> set[str]:
    """Return the names of PRINTING that a module uses or imports."""
    tree = ast.parse(file.read_text())
    typing_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in typing_only:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Name | ast.Attribute):
            names.add(ast.unparse(node))
    return names & PRINTING


def test_no_module_of_the_command_line_prints_past_echo() -> None:
    used = {str(file.relative_to(CLI)): printing_names(file) for file in CLI.rglob("*.py")}
    assert len(used) > 30
    assert {name for name, names in used.items() if names} == MAY_PRINT
