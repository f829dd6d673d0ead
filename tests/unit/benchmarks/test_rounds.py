"""Measuring in turns: the order, the best try, and what comes of a row."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from benchmarks.bench.commands import CommandError, Finished, Runner, cause, document
from benchmarks.bench.contenders import TARGET, Contender
from benchmarks.bench.figures import first_step_s, rate_with_data, training_s_to
from benchmarks.bench.measure import Bench
from benchmarks.bench.rounds import best_try, in_turns
from benchmarks.bench.rows import Row, ratio, rows, share_of_product, time_ratio


def finished(folder: Path, printed: dict[str, object] | None = None) -> Finished:
    return Finished(printed or {}, folder, started_at=100.0, wall_s=50.0)


class Commands(Runner):
    """Returns what is written for each command, in its order, and keeps what was asked for."""

    def __init__(self, rates: dict[str, list[float]], failing: Sequence[str] = ()) -> None:
        super().__init__(Path(), Path(), {})
        self.rates, self.ran, self.failing = rates, list[str](), list(failing)

    def run(self, command: str, value: int) -> Finished:
        text = self.text(command, value)
        self.ran.append(text)
        if text in self.failing:
            self.failing.remove(text)
            raise CommandError(f"`{text}` ended with exit code 1: RuntimeError: lost")
        rate = self.rates[text].pop(0) if len(self.rates[text]) > 1 else self.rates[text][0]
        return finished(Path(), {"samples_per_s": rate})


OURS, PEER = Contender("ours", "rnnjob ours"), Contender("peer", "peer {n}", tries=(64, 128, 256))


def test_the_order_changes_each_round() -> None:
    assert [in_turns("ab", number) for number in range(3)] == [["a", "b"], ["b", "a"], ["a", "b"]]


def test_one_lucky_probe_does_not_make_a_batch_size_the_best() -> None:
    values = {64: [90.0, 1.0, 2.0], 128: [5.0, 6.0, 7.0]}
    assert best_try((64, 128), lambda size: values[size].pop(0), 3, higher=True) == 128


def test_the_shortest_time_is_the_best_where_seconds_count() -> None:
    assert best_try((1, 2, 3), lambda size: abs(size - 2.2), 1, higher=False) == 2


def test_a_row_compares_with_the_best_batch_size_of_the_peer() -> None:
    commands = Commands(
        {"rnnjob ours": [9.0], "peer 64": [2.0], "peer 128": [3.0], "peer 256": [1.0]}
    )
    result = Bench(commands, 3, "c0ffee").row(Row("speed", (OURS, PEER), 1.0))
    assert result.figures == [3.0, 3.0, 3.0]
    assert [each.name for each in result.contenders] == ["ours", "peer, batch 128"]
    assert commands.ran[-6:] == [
        "rnnjob ours", "peer 128", "peer 128", "rnnjob ours", "rnnjob ours", "peer 128",
    ]  # fmt: skip
    assert len(result.load) == 3


def test_each_round_has_a_ratio_of_its_own() -> None:
    peer = replace(PEER, tries=(512,))
    commands = Commands({"rnnjob ours": [2.0, 8.0, 3.0], "peer 512": [1.0, 2.0, 3.0]})
    assert Bench(commands, 3, "").row(Row("speed", (OURS, peer), 1.0)).figures == [2.0, 4.0, 1.0]


def test_a_peer_may_fail_once_and_the_row_says_so() -> None:
    peer = replace(PEER, tries=(512,))
    row, rates = Row("speed", (OURS, peer), 1.0), {"rnnjob ours": [9.0], "peer 512": [3.0]}
    result = Bench(Commands(rates, failing=["peer 512"]), 1, "").row(row)
    assert result.figures == [3.0]
    failure = "`peer 512` ended with exit code 1: RuntimeError: lost"
    assert result.notes == [f"a command of peer failed and was repeated: {failure}"]
    for failing in (["peer 512"] * 2, ["rnnjob ours"]):
        with pytest.raises(CommandError, match="RuntimeError: lost"):
            Bench(Commands(rates, failing=failing), 1, "").row(row)


def test_a_row_whose_peer_cannot_run_here_says_why_and_runs_nothing() -> None:
    commands = Commands({})
    absent = replace(PEER, missing=lambda: "there is no AVX-512")
    result = Bench(commands, 3, "").row(Row("speed", (OURS, absent), 1.0))
    assert (result.figures, result.notes) == ([], ["there is no AVX-512"])
    assert commands.ran == []


def test_an_optional_peer_that_is_not_installed_is_left_out_with_a_word() -> None:
    absent = replace(PEER, name="Keras", missing=lambda: "not installed", optional=True)
    commands = Commands({"rnnjob ours": [9.0], "peer 512": [3.0]})
    row = Row("speed", (OURS, replace(PEER, tries=(512,)), absent), 1.0)
    result = Bench(commands, 1, "").row(row)
    assert (result.figures, result.notes) == ([3.0], ["Keras was not measured: not installed"])


def test_a_contender_without_a_figure_makes_no_ratio() -> None:
    commands = Commands({"rnnjob ours": [float("inf")], "peer 512": [3.0]})
    with pytest.raises(ValueError, match="ours came to no figure"):
        Bench(commands, 1, "").row(Row("speed", (OURS, replace(PEER, tries=(512,))), 1.0))


def test_the_best_peer_is_the_one_that_counts() -> None:
    assert (ratio(6.0, 2.0, 3.0), time_ratio(2.0, 8.0, 4.0)) == (2.0, 0.5)
    assert share_of_product(5_000.0, 126e9) == pytest.approx(50.0)


def test_a_wanted_value_is_a_lower_or_an_upper_limit() -> None:
    wanted = rows(TARGET)
    assert wanted["fp32"].reached(1.25) and not wanted["fp32"].reached(1.24)
    assert wanted["ray-start"].reached(0.7) and not wanted["ray-start"].reached(0.71)


def test_a_document_is_all_of_an_output_or_its_last_line_that_is_one() -> None:
    assert document(json.dumps({"a": 1}, indent=2)) == {"a": 1}
    assert document('a worker says\n{"a": 2}\n') == {"a": 2}
    assert document('{"a": 2}\n\x1b[33m(raylet)\x1b[0m WARNING: 8 workers\n') == {"a": 2}
    assert document(json.dumps({"a": 1}, indent=2) + "\n(raylet) WARNING\n") == {"a": 1}
    assert document('{"a": 2}\n{no document\n7\n') == {"a": 2}
    for nothing in ("", "a worker says\n"):
        with pytest.raises(CommandError, match="printed no JSON document"):
            document(nothing)


def test_a_command_that_fails_says_how(tmp_path: Path) -> None:
    runner = Runner(tmp_path, tmp_path, {"word": "nonsense"})
    with pytest.raises(CommandError, match=r"`python -c '.*'` ended with exit code 1: \w+Error"):
        runner.run("python -c '{{1}}/0'", 1)


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("W1127 torch/distributed/run.py: *****\n"
         "[rank1]: Traceback (most recent call last):\n"
         '[rank1]:   File "a.py", line 1, in <module>\n'
         "[rank1]: RuntimeError: Connection closed by peer\n"
         "Traceback (most recent call last):\n"
         "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n"
         "=====\n  exitcode  : 1 (pid: 7)\n=====\n",
         "RuntimeError: Connection closed by peer"),
        ("====\nRoot Cause:\n  exitcode  : -11 (pid: 7)\n====\n", "  exitcode  : -11 (pid: 7)"),
        ("", "no error printed"),
    ],
)  # fmt: skip
def test_of_what_a_failed_command_printed_the_line_is_kept_that_says_most(
    stderr: str, said: str
) -> None:
    assert cause(stderr).strip() == said.strip()


def test_a_command_gets_an_empty_folder_and_may_run_once_for_several_rows(tmp_path: Path) -> None:
    runner = Runner(tmp_path, tmp_path / "data", {"seconds": 3}, reuse=True)
    code = "import json, sys; print(json.dumps(sys.argv[1:]).join((chr(123) + chr(34) + chr(97)"
    command = f'python -c "{code} + chr(34) + chr(58), chr(125))))" FOLDER DATA {{seconds}} {{n}}'
    done = runner.run(command, 5)
    assert done.printed == {"a": [str(done.folder), str(tmp_path / "data"), "3", "5"]}
    assert runner.run(command, 5) is done
    assert runner.run(command, 6).folder != done.folder


def test_figures_of_a_run_are_read_from_its_folder(tmp_path: Path) -> None:
    done = finished(tmp_path, {"test_accuracy": 0.9, "history": [{"train_s": 2}, {"train_s": 3}]})
    (tmp_path / "run" / "logs").mkdir(parents=True)
    began = datetime.fromtimestamp(130.0).isoformat(" ", "milliseconds")
    (tmp_path / "run" / "logs" / "worker-0.log").write_text(f"{began} INFO worker 0 has started\n")
    records = [
        {"kind": "step", "time": 140.0, "rows": 300},
        {"kind": "step", "time": 150.0, "rows": 300},
        {"kind": "epoch", "time": 152.0, "validation_s": 2.0},
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (tmp_path / "run" / "metrics.jsonl").write_text(lines)
    assert first_step_s(done) == 40.0
    assert rate_with_data(done) == pytest.approx(30.0)
    assert training_s_to(0.9, done) == 5.0
    assert training_s_to(0.91, done) == float("inf")
