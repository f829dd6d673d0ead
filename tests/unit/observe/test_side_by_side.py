"""Repeats on a cluster: as many at once as fit."""

from pathlib import Path

from orchestrator import runs
from orchestrator.cli.repeats import check_all, repeats_of
from orchestrator.observe.side_by_side import run_side_by_side
from orchestrator.runs import RunStatus
from tests.unit.fakes import FakeLauncher, tiny_spec


class Counting:
    def __init__(self) -> None:
        self.going: set[str] = set()
        self.most = 0

    def started(self, run_id: str) -> None:
        self.going.add(run_id)
        self.most = max(self.most, len(self.going))

    def ended(self, status: RunStatus) -> None:
        self.going.remove(status.run_id)


def test_no_more_jobs_go_on_at_once_than_fit_and_all_end(tmp_path: Path) -> None:
    jobs = check_all(repeats_of(tiny_spec(tmp_path), 5, "r"), FakeLauncher)
    looks: dict[str, int] = {}

    def look(run_id: str) -> RunStatus:
        looks[run_id] = looks.get(run_id, 0) + 1
        return RunStatus(run_id, runs.SUCCEEDED if looks[run_id] > 1 else runs.RUNNING)

    view = Counting()
    ended = run_side_by_side(jobs, 2, look, view)
    assert [status.run_id for status in ended] == [f"r-seed{seed}" for seed in range(5)]
    assert (view.most, view.going) == (2, set())
    assert [job.spec.training.seed for job in jobs] == list(range(5))


def test_each_repeat_has_a_launcher_of_its_own(tmp_path: Path) -> None:
    """One that is shared would take a restart of one job from the next."""
    jobs = check_all(repeats_of(tiny_spec(tmp_path), 3, "r"), FakeLauncher)
    assert len({id(job.launcher) for job in jobs}) == 3
