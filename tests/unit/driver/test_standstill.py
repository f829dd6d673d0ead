"""A job stands still if its workers report no progress for long, and then it is told who."""

from dataclasses import replace

import pytest

from orchestrator.driver.standstill import Standstill, StandstillWatch
from workers.records.activity import CHECKPOINT, COMPUTE, EVALUATE, EXCHANGE, RECORD, Report


class Simulation:
    """Two workers, whose reports are looked at once a second."""

    def __init__(self, step_s: float = 0.02) -> None:
        self.now = 0.0
        self.watch = StandstillWatch(lambda: self.now, lambda: 1000.0 + self.now)
        self.watch.start_again(2)
        self.reports = [
            Report(rank, f"host-{rank}", 70 + rank, "", 0, COMPUTE, 0, step_s, 0) for rank in (0, 1)
        ]

    def second(self, *living: int, **changes: object) -> Standstill | None:
        """Let a second pass in which these workers report, with changes."""
        self.now += 1.0
        for rank in living:
            report = self.reports[rank]
            self.reports[rank] = replace(report, beats=report.beats + 1, **changes)  # type: ignore[arg-type]
        return self.watch.look(self.reports)

    def train(self, seconds: int) -> None:
        for _ in range(seconds):
            step = self.reports[0].step + 50
            assert self.second(0, 1, step=step, num_exchanges=step, doing=EXCHANGE) is None


def test_a_suspended_worker_is_told_after_15_seconds() -> None:
    job = Simulation()
    job.train(100)
    told = [job.second(0) for _ in range(30)]
    first = next(number for number, found in enumerate(told, 1) if found)
    assert first == 16
    found = told[-1]
    assert found is not None
    assert (found.since, found.step, found.are_silent) == (1100.0, 5000, True)
    assert found.describe() == (
        "after step 5000: it waits for worker 1 on host-1 (pid 71), which gives no sign of life"
    )
    job.train(5)


@pytest.mark.parametrize("doing", [COMPUTE, RECORD])
def test_a_worker_that_lives_but_does_not_get_on_is_the_one_that_is_waited_for(doing: str) -> None:
    job = Simulation()
    job.train(3)
    found = None
    for _ in range(20):
        job.second(0, doing=doing)
        found = job.second(1, doing=EXCHANGE)
    assert found is not None and not found.are_silent
    assert found.describe().endswith(f"worker 0 on host-0 (pid 70), which {doing}")


@pytest.mark.parametrize("doing", [EVALUATE, CHECKPOINT])
def test_what_is_known_to_take_long_is_no_standstill_while_the_worker_lives(doing: str) -> None:
    job = Simulation()
    job.train(3)
    job.second(1, doing=EXCHANGE)
    assert not any(job.second(0, doing=doing) or job.second(1) for _ in range(60))
    told = [job.second(1) for _ in range(40)]
    assert told[-1] is not None and told[-1].waits_for[0].rank == 0


def test_long_steps_are_given_30_times_as_long() -> None:
    job = Simulation(step_s=2.0)
    job.train(3)
    told = [job.second(0) for _ in range(70)]
    assert next(number for number, found in enumerate(told, 1) if found) == 61


def test_all_that_wait_for_each_other_stand_still_too() -> None:
    job = Simulation()
    job.train(3)
    found = None
    for _ in range(20):
        found = job.second(0, 1)
    assert found is not None and found.waits_for == ()
    assert "all workers wait for each other" in found.describe()


def test_a_worker_that_falls_silent_before_its_start_is_noticed_is_named_too() -> None:
    """The driver may see its reports before it reads in the run's records that it has started."""
    job = Simulation()
    job.train(3)
    job.watch.start_again(2)
    told = [job.second(0) for _ in range(20)]
    assert told[-1] is not None and told[-1].describe().endswith("which gives no sign of life")


def test_reports_of_workers_that_a_smaller_job_no_longer_has_are_not_waited_for() -> None:
    job = Simulation()
    job.train(3)
    job.watch.start_again(1)
    for step in range(1, 60):
        assert job.second(0, step=step, num_exchanges=step) is None
    assert StandstillWatch().look([]) is None
