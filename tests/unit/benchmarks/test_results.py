"""RESULTS.md: the table of wanted and seen, and the rows that are kept."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.bench import __main__ as bench
from benchmarks.bench.commands import CommandError
from benchmarks.bench.contenders import TARGET
from benchmarks.bench.machine import machine
from benchmarks.bench.results import Measured, Result, Results, number, page, read, write
from benchmarks.bench.rows import rows

ROWS = rows(TARGET)
GOOD = Result(
    "2030-01-02",
    "c0ffee",
    [1.5, 1.2, 1.3],
    [[0.1, 0.9], [0.9, 1.0], [1.0, 1.1]],
    [Measured("rnnjob", "rnnjob submit", "samples/s", [15000.0, 12000.0, 13000.0])],
    ["Keras was not measured: it is not installed"],
)
ABSENT = Result("2030-01-02", "c0ffee", [], [], [], ["there is no AVX-512"])


def line(text: str, key: str) -> str:
    return next(each for each in text.splitlines() if each.startswith(f"| {key} |"))


def test_a_row_shows_wanted_and_the_median_of_what_was_seen() -> None:
    text = page(Results(["- CPU: some"], {"fp32": GOOD}), ROWS)
    cells = [cell.strip() for cell in line(text, "fp32").strip("|").split("|")]
    assert cells[2:6] == ["at least 1.25x", "1.30x", "yes", "1.20x to 1.50x, 3 round(s)"]
    assert cells[6:] == ["0.1/0.9, 0.9/1.0, 1.0/1.1", "c0ffee, 2030-01-02"]
    assert "- rnnjob, 13,000 samples/s: `rnnjob submit`" in text
    assert "- Keras was not measured: it is not installed" in text
    assert "- CPU: some" in text


def test_a_row_that_missed_what_was_wanted_says_so() -> None:
    assert "| 1.30x | **no** |" in line(page(Results([], {"bf16": GOOD}), ROWS), "bf16")


def test_a_row_that_could_not_be_measured_says_why() -> None:
    text = page(Results([], {"bf16": ABSENT}), ROWS)
    assert "not measured: there is no AVX-512" in line(text, "bf16")
    assert "not measured yet" in line(text, "fp32")


def test_each_line_of_the_table_has_as_many_cells_as_its_head() -> None:
    text = page(Results([], {"fp32": GOOD, "bf16": ABSENT}), ROWS)
    table = [each for each in text.splitlines() if each.startswith("|")]
    assert len(table) == len(ROWS) + 2
    assert len({each.count("|") for each in table}) == 1


def test_figures_have_their_units() -> None:
    values = {"x": 1.234, "%": 41.7, "s": 3.14, "samples/s": 12345.6, "FLOP/s": 123e9}
    shown = [number(value, unit) for unit, value in values.items()]
    assert shown == ["1.23x", "42%", "3.1 s", "12,346 samples/s", "123 GFLOP/s"]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path, results = tmp_path / "RESULTS.json", Results(["here"], {"fp32": GOOD, "bf16": ABSENT})
    assert read(path) is None
    write(path, results, ROWS)
    assert read(path) == results
    assert (tmp_path / "RESULTS.md").read_text() == page(results, ROWS)


def run_bench(
    monkeypatch: pytest.MonkeyPatch,
    path: Path,
    result: Result | Callable[[object], Result],
    *words: str,
) -> int:
    """Run the command, with a row that comes to a result at once."""
    monkeypatch.setattr(sys, "argv", ["bench", "--output", str(path), *words])
    monkeypatch.setattr(
        bench.Bench, "row", lambda self, row: result(row) if callable(result) else result
    )
    monkeypatch.setattr(bench, "write_rows", lambda dataset, folder: None)
    monkeypatch.setattr(bench.signal, "signal", lambda *_: None)
    return bench.main()


def test_measuring_one_row_keeps_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "RESULTS.json"
    write(path, Results(machine(), {"fp32": GOOD, "exact": GOOD}), ROWS)
    assert run_bench(monkeypatch, path, ABSENT, "--only", "fp32") == 0
    kept = read(path)
    assert kept is not None and kept.rows == {"fp32": ABSENT, "exact": GOOD}


def test_one_row_is_not_mixed_with_those_of_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "RESULTS.json"
    other = Results(["another machine"], {"fp32": GOOD, "exact": GOOD})
    write(path, other, ROWS)
    assert run_bench(monkeypatch, path, ABSENT, "--only", "fp32") == 2
    assert "of another machine" in capsys.readouterr().err
    assert read(path) == other


def test_all_rows_replace_those_of_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "RESULTS.json"
    write(path, Results(["another machine"], {"exact": GOOD}), ROWS)
    assert run_bench(monkeypatch, path, ABSENT) == 0
    assert read(path) == Results(machine(), dict.fromkeys(ROWS, ABSENT))


def test_a_row_that_failed_is_on_the_page_and_in_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(command: object) -> Result:
        raise CommandError("`torchrun` ended with exit code 1: a | b")

    path = tmp_path / "RESULTS.json"
    assert run_bench(monkeypatch, path, fail, "--only", "exact") == 1
    text = line(path.with_suffix(".md").read_text(), "exact")
    assert r"not measured: `torchrun` ended with exit code 1: a \| b" in text


def test_a_smoke_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNJOB_DATA_DIR", "/nowhere")  # the smoke removes it
    assert run_bench(monkeypatch, tmp_path / "RESULTS.json", GOOD, "--smoke") == 0
    assert list(tmp_path.iterdir()) == []
