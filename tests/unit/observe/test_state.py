"""The state of a run follows from its record and the evidence, as this table says."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import runs
from orchestrator.cluster.ray_jobs_api import RayJob
from orchestrator.observe.evidence import state_here
from orchestrator.observe.state import Evidence, decide
from orchestrator.runs import Process, RunStatus
from workers.errors import ClusterError, InputError, UnreachableError
from workers.storage.storage import Storage

NOW = 1_000_000.0
HERE, GONE = Process.LIVES, Process.GONE
KILLED = RayJob("FAILED", "", "JOB_ENTRYPOINT_COMMAND_ERROR", 137)
EXITED = RayJob("FAILED", "Job failed\nImportError: no torch", "JOB_ENTRYPOINT_COMMAND_ERROR", 1)
NO_SUPERVISOR = RayJob("FAILED", "actor died" * 100, "JOB_SUPERVISOR_ACTOR_DIED")
SILENT = UnreachableError("no cluster answers at http://c", "check it")
STRANGE = InputError("r names the cluster http://c, which you have not used before", "name it")
REFUSED = ClusterError("the cluster at http://c refuses the token (HTTP 403)", "export it")


def command(verb: str, *more: str) -> str:
    return " ".join(["rnnjob", verb, "r", *more])


def told(record: RunStatus, evidence: Evidence) -> RunStatus:
    return decide(record, evidence, command, NOW)


def asked(job: RayJob | None = None, **more: object) -> Evidence:
    return replace(Evidence(is_asked=True, job=job), **more)  # type: ignore[arg-type]


ON_MACHINE = [
    (Evidence(HERE), "RUNNING"),
    (Evidence(HERE, has_lease=False), "RUNNING"),  # it stands still, or its parent starts it again
    (Evidence(GONE), "LOST"),
    (Evidence(GONE, has_lease=True), "LOST"),
    (Evidence(), "RUNNING"),
    (Evidence(has_lease=True), "RUNNING"),
    (Evidence(has_lease=False, seen_at=NOW - 90), "LOST"),
    (Evidence(HERE, is_released=True), "LOST"),
]
ON_CLUSTER = [
    (Evidence(), "RUNNING"),  # nobody was asked
    (Evidence(GONE), "LOST"),
    (asked(RayJob("RUNNING")), "RUNNING"),
    (asked(RayJob("RUNNING"), has_lease=False), "RUNNING"),  # its supervisor starts it again
    (asked(None), "LOST"),
    (asked(None, has_lease=True), "RUNNING"),
    (asked(KILLED), "LOST"),
    (asked(KILLED, has_lease=True), "RUNNING"),
    (asked(NO_SUPERVISOR), "LOST"),
    (asked(EXITED), "FAILED"),
    (asked(RayJob("FAILED", "no numpi", "RUNTIME_ENV_SETUP_FAILURE")), "FAILED"),
    (asked(RayJob("STOPPED")), "STOPPED"),
    (asked(RayJob("SUCCEEDED")), "LOST"),
    (asked(refusal=SILENT), "UNREACHABLE"),
    (asked(refusal=SILENT, has_lease=False), "UNREACHABLE"),
    (asked(refusal=SILENT, has_lease=True), "RUNNING"),
    (asked(refusal=STRANGE), "UNREACHABLE"),
    (asked(refusal=STRANGE, has_lease=True), "RUNNING"),
    (asked(refusal=REFUSED), "UNREACHABLE"),
]


@pytest.mark.parametrize(("evidence", "state"), ON_MACHINE)
def test_a_run_of_a_machine(evidence: Evidence, state: str) -> None:
    record = RunStatus("r", "RUNNING", "local", host="h", pid=7, attempt=1)
    assert told(record, evidence).state == state


@pytest.mark.parametrize(("evidence", "state"), ON_CLUSTER)
def test_a_run_of_a_cluster(evidence: Evidence, state: str) -> None:
    record = RunStatus("r", "RUNNING", "cluster", address="http://c", attempt=1)
    status = told(record, evidence)
    assert status.state == state
    assert "\n" not in status.reason and len(status.reason) < 300
    assert status.is_terminal == (state in ("LOST", "FAILED", "STOPPED"))
    assert not status.has_outcome and (status.exit_code is None) == (not status.is_terminal)


@pytest.mark.parametrize("state", sorted(runs.TERMINAL - {runs.LOST}))
@pytest.mark.parametrize("evidence", [Evidence(GONE), asked(None), asked(refusal=SILENT)])
def test_what_a_record_says_of_the_end_holds(state: str, evidence: Evidence) -> None:
    record = RunStatus("r", state, "cluster", "why", "how", 3, address="http://c", ended_at=1.0)
    assert told(record, evidence) == record


def test_a_job_that_is_being_submitted_is_not_lost_for_ten_minutes() -> None:
    record = RunStatus("r", "QUEUED", "cluster", address="http://c", queued_at=NOW - 500)
    assert told(record, asked(None)).state == "QUEUED"
    late = told(replace(record, queued_at=NOW - 700), asked(None))
    assert late.state == "LOST"
    assert late.cure == "start it: rnnjob resume r, or remove it: rnnjob delete r"


def test_each_decision_says_why_and_what_to_do() -> None:
    record = RunStatus("r", "RUNNING", "cluster", address="http://c", attempt=1, host="h", pid=7)
    go_on = "go on from the last checkpoint: rnnjob resume r"
    lost = told(record, asked(None))
    assert lost.reason == "the cluster at http://c does not know the job: its head was lost"
    assert lost.cure == f"{go_on}, or remove it: rnnjob delete r"
    assert told(record, asked(RayJob("STOPPED"))).cure == go_on
    without = told(record, asked(NO_SUPERVISOR))
    assert without.reason.startswith("the cluster lost Ray's supervisor of the job")
    orphan = told(record, asked(KILLED, has_lease=True))
    assert orphan.reason == (
        "its process on the head was killed by SIGKILL; its driver has not ended yet"
    )
    failed = told(record, asked(EXITED))
    assert failed.reason == "its driver exited with 1: ImportError: no torch"
    silent = told(record, asked(refusal=SILENT, has_lease=False, seen_at=NOW - 180))
    assert silent.reason == (
        "no cluster answers at http://c, last sign of life 1970-01-12 13:43:40 UTC (3m 00s ago); "
        "its record says RUNNING"
    )
    assert silent.cure.startswith("check it; if the cluster is gone for good: rnnjob stop r")
    assert told(record, asked(refusal=STRANGE)).cure == "name it"
    local = replace(record, mode="local")
    assert told(local, Evidence(GONE)).reason == "its process (pid 7) is gone without a word"
    released = told(local, Evidence(HERE, is_released=True))
    assert released.reason == "its process (pid 7 on h) ended the job and could not write how"


def test_a_standstill_is_told_with_its_state() -> None:
    record = RunStatus("r", "RUNNING", "local", host="h", pid=7, attempt=1)
    silent = told(record, Evidence(HERE, has_lease=True, is_silent=True, seen_at=NOW - 20))
    assert (silent.state, silent.stalled_since) == ("RUNNING", NOW - 20)
    assert silent.reason == (
        "it stands still since 1970-01-12 13:46:20 UTC (20s ago): its process (pid 7 on h) gives "
        "no sign of life"
    )
    stalled = replace(record, stalled_since=NOW - 60, stalled="after step 4: it waits for worker 1")
    assert told(stalled, Evidence(HERE)).reason == (
        "it stands still since 1970-01-12 13:45:40 UTC (1m 00s ago), "
        "after step 4: it waits for worker 1"
    )
    job = replace(record, mode="cluster", address="http://c")
    silent = told(job, asked(RayJob("RUNNING"), is_silent=True, seen_at=NOW - 99))
    assert "gives no sign of life" in silent.reason


# --- the evidence of this machine ---


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., RunStatus]:
    """Return a function that records a run, and returns its state as it is then decided."""
    run = runs.create_run(Storage(str(tmp_path)), "a", "name: x\n", "local")

    def write(state: str = "RUNNING", **values: object) -> RunStatus:
        mine = {**runs.this_process(), **values}
        runs.write_status(run, RunStatus("a", state, "local", **mine))
        return state_here(run)

    return write


@pytest.fixture(scope="module")
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_run_whose_process_is_gone_is_lost(
    written: Callable[..., RunStatus], dead_pid: int
) -> None:
    assert written().state == "RUNNING"
    lost = written(pid=dead_pid)
    assert (lost.state, lost.exit_code) == ("LOST", 1)
    assert lost.reason == f"its process (pid {dead_pid}) is gone without a word"


def test_a_process_with_the_same_id_but_another_start_time_is_a_different_process(
    written: Callable[..., RunStatus],
) -> None:
    assert written(pid_started=runs.this_process()["pid_started"] - 100).state == "LOST"


def test_processes_on_other_machines_and_of_ended_runs_are_not_checked(
    written: Callable[..., RunStatus], dead_pid: int
) -> None:
    assert written(pid=dead_pid, host="elsewhere").state == "RUNNING"
    assert written("STOPPED", pid=dead_pid).state == "STOPPED"


def test_a_process_that_its_parent_will_start_again_is_not_gone(
    written: Callable[..., RunStatus], dead_pid: int
) -> None:
    mine = runs.this_process()
    parent = {"keeper_pid": mine["pid"], "keeper_started": mine["pid_started"]}
    assert written(pid=dead_pid, **parent).state == "RUNNING"
