"""Why a run does not run or failed: each category from facts."""

import shlex
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator import facts as facts_module
from orchestrator import runs, why
from orchestrator.client import Client
from orchestrator.cluster.dashboard import Node
from orchestrator.cluster.jobs import RayJob, Scaling
from orchestrator.job_spec import JobSpec
from orchestrator.room import Need
from orchestrator.runs import RunStatus
from orchestrator.why import Answer, Facts, Holder, classify
from workers.errors import ClusterError, InputError
from workers.storage import Storage

RAY_OF_A_LOST_WORKER = (
    "Worker unexpectedly exits with a connection error code 2. End of file. There are some "
    "potential root causes. (1) The process is killed by SIGKILL by OOM killer due to high memory "
    "usage. (2) ray stop --force is called. (3) The worker is crashed unexpectedly due to SIGSEGV"
)


def command(verb: str, *more: str) -> str:
    return shlex.join(["rnnjob", verb, "r", *more])


def node(cpus: float = 1.0, free: float | None = 1.0, alive: bool = True, gpus: float = 0) -> Node:
    return Node("id", "n", "10.0.0.1", alive, False, "", cpus, free, gpus)


def answer(state: str, **more: Any) -> Answer:
    of_status = {k: v for k, v in more.items() if k in RunStatus.__dataclass_fields__}
    rest = {k: v for k, v in more.items() if k not in of_status}
    status = RunStatus("r", state, "cluster", **of_status)
    return classify(Facts(status=status, command=command, **rest))


def failed(reason: str = "", **more: Any) -> Answer:
    return answer(runs.FAILED, reason=reason, **{"exit_code": 1, **more})


def test_a_run_that_runs_has_nothing_wrong() -> None:
    told = answer(runs.RUNNING, workers=2, attempt=1, progress="last told: step 8")
    assert told == Answer(
        why.RUNNING,
        "nothing is wrong: it runs on 2 worker(s)",
        ("last told: step 8",),
        "rnnjob logs r -f",
    )
    assert "attempt 2" in answer(runs.RUNNING, workers=2, attempt=2).cause
    assert answer(runs.PENDING).cause == "nothing is wrong: its workers are starting"
    assert answer(runs.QUEUED).category == why.RUNNING


def test_workers_that_are_started_again_were_lost() -> None:
    told = answer(runs.RESTARTING, reason="worker 1 died", workers=2, attempt=1)
    assert told.category == why.WORKER_LOST
    assert told.cause == "it is started again: worker 1 died"


def test_a_run_that_ended_as_wanted() -> None:
    assert answer(runs.SUCCEEDED).category == why.SUCCEEDED
    stopped = answer(runs.STOPPED, reason="rnnjob stop", cure="go on: x", exit_code=5)
    assert (stopped.category, stopped.cause, stopped.next) == (
        why.STOPPED,
        "rnnjob stop",
        "go on: x",
    )
    late = answer(runs.STOPPED, reason="time limit of 2h reached", exit_code=124)
    assert (late.category, late.cause) == (why.TIME_LIMIT, "time limit of 2h reached")


def test_what_no_node_can_hold_is_infeasible_and_names_the_largest() -> None:
    told = answer(runs.PENDING, need=Need(1, {"CPU": 4.0}), nodes=(node(), node(2, 2)))
    assert told.category == why.INFEASIBLE
    assert told.cause == "a worker needs 4 CPU, the largest of 2 node(s) has 2 CPU"
    assert told.evidence == ("the cluster has 2 node(s) with 3 CPU, 3 free",)
    assert told.next.startswith("rnnjob stop r, and ask for less")


def test_more_workers_than_all_nodes_can_hold_is_infeasible_dead_nodes_not_counted() -> None:
    nodes = (node(), node(), node(alive=False))
    told = answer(runs.PENDING, need=Need(3, {"CPU": 1.0}), nodes=nodes)
    assert told.category == why.INFEASIBLE
    assert told.cause == "3 workers need 1 CPU each, the 2 node(s) have room for 2"


def test_gpus_that_are_nowhere_are_infeasible() -> None:
    need = Need(1, {"CPU": 1.0, "GPU": 1.0})
    told = answer(runs.PENDING, need=need, nodes=(node(8, 8),))
    assert told.cause == (
        "a worker needs 1 CPU and 1 GPU, the largest of 1 node(s) has 8 CPU and 0 GPU"
    )
    assert answer(runs.PENDING, need=need, nodes=(node(8, 8, gpus=1),)).category == why.RUNNING


def test_the_drivers_own_word_is_enough_to_know_it_infeasible() -> None:
    reason = "a worker needs 4 CPU, the largest of 3 node(s) has 1 CPU"
    assert answer(runs.PENDING, reason=reason).category == why.INFEASIBLE
    ended = failed(f"the workers did not start within 20s: {reason}", exit_code=6, cure="less")
    assert (ended.category, ended.next) == (why.INFEASIBLE, "less")


def test_a_run_that_waits_names_who_holds_the_resources() -> None:
    told = answer(
        runs.PENDING,
        reason="2 worker(s) need 1 CPU each, 0 CPU are free: others hold the rest",
        need=Need(2, {"CPU": 1.0}),
        nodes=(node(2, 0), node(2, 0)),
        others=(Holder("big", "RUNNING", 2.0), Holder("idle", "PENDING", 0.0)),
    )
    assert (told.category, told.cause) == (why.WAITING, "it waits for big")
    assert "big (RUNNING) holds 2 CPU" in told.evidence
    assert "jobs that are not in this storage hold 2 CPU" in told.evidence
    assert not any("idle" in line for line in told.evidence)
    assert told.next == "rnnjob wait r"
    ended = failed("not within 10m: 0 CPU are free: others hold the rest", exit_code=6)
    assert ended.category == why.WAITING


def test_a_driver_that_ray_still_prepares_is_waited_for() -> None:
    told = answer(runs.QUEUED, job=RayJob("PENDING", "Job has not started yet."))
    assert told.category == why.WAITING
    assert told.evidence == ("Ray Jobs: PENDING: Job has not started yet.",)


def test_nodes_on_their_way_come_before_what_the_present_ones_lack() -> None:
    told = answer(
        runs.PENDING,
        reason="a worker needs 1 CPU and 1 GPU, the largest of 1 node(s) has 2 CPU and 0 GPU",
        need=Need(1, {"CPU": 1.0, "GPU": 1.0}),
        nodes=(node(2, 2),),
        scaling=Scaling(starting=("10.0.0.7: gpu_worker, setting-up",)),
    )
    assert told.category == why.AUTOSCALING
    assert "the autoscaler starts: 10.0.0.7: gpu_worker, setting-up" in told.evidence


def test_an_autoscaler_that_fails_is_part_of_the_evidence() -> None:
    told = answer(
        runs.PENDING,
        need=Need(1, {"CPU": 9.0}),
        nodes=(node(),),
        scaling=Scaling(failures=("gpu_worker: LaunchFailed, quota",)),
    )
    assert told.category == why.INFEASIBLE
    assert "the autoscaler failed: gpu_worker: LaunchFailed, quota" in told.evidence


@pytest.mark.parametrize("state", [runs.QUEUED, runs.PENDING, runs.RUNNING])
def test_a_cluster_that_does_not_answer_is_told_with_what_the_record_says(state: str) -> None:
    refusal = ClusterError("no cluster answers at http://x:1: refused", "check the address")
    told = answer(state, reason="busy", refusal=refusal, log=("driver | a", "driver | b"))
    assert told.category == why.UNREACHABLE
    assert told.cause.startswith("no cluster answers at http://x:1: refused; the job may well")
    assert told.evidence == (f"its record says {state}: busy", "driver | a", "driver | b")
    assert told.next == "check the address"


@pytest.mark.parametrize(
    "refusal",
    [
        ClusterError("the cluster at x asks for a token (HTTP 401)", "export"),
        ClusterError("the cluster at x refuses the token (HTTP 403)", "export"),
        InputError("the token file /t cannot be read: gone", "export"),
    ],
)
def test_a_token_that_does_not_fit_is_a_matter_of_authentication(refusal: ClusterError) -> None:
    told = answer(runs.RUNNING, refusal=refusal)
    assert (told.category, told.cause, told.next) == (why.AUTHENTICATION, refusal.cause, "export")


@pytest.mark.parametrize(
    ("error", "category"),
    [
        ("DataError", why.DATA),
        ("DivergedError", why.DIVERGED),
        ("StorageError", why.STORAGE),
    ],
)
def test_an_error_of_ours_says_itself_what_it_is(error: str, category: str) -> None:
    told = failed("what happened", error=error, cure="the cure", log=("driver | what happened",))
    assert (told.category, told.cause, told.next) == (category, "what happened", "the cure")


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("ray.exceptions.OutOfMemoryError: Task was killed due to the node", why.OUT_OF_MEMORY),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", why.OUT_OF_MEMORY),
        ("the node is running low on memory", why.OUT_OF_MEMORY),
        ("RuntimeError: Version mismatch: The cluster was started with", why.VERSION),
        ("ray.exceptions.AuthenticationError: Authentication required", why.AUTHENTICATION),
        ("ModuleNotFoundError: No module named 'orchestrator'", why.CODE_SHIPPING),
        ("workers.errors.NoSuchRunError: /mnt/x holds no run", why.STORAGE),
        ("OSError: [Errno 28] No space left on device", why.STORAGE),
        ("ray.exceptions.ActorDiedError: The actor died unexpectedly", why.WORKER_LOST),
        (RAY_OF_A_LOST_WORKER + " worker died unexpectedly", why.WORKER_LOST),
        ("Segmentation fault in something else", why.UNKNOWN),
    ],
)
@pytest.mark.parametrize("place", ["reason", "job", "log"])
def test_what_was_told_anywhere_is_understood(text: str, category: str, place: str) -> None:
    told = failed(
        text if place == "reason" else "a worker failed",
        job=RayJob("FAILED", f"Job failed\n{text}\n", driver_exit_code=1)
        if place == "job"
        else None,
        log=("driver | before", f"worker-0 | {text}") if place == "log" else (),
    )
    assert told.category == category
    shown = " ".join([told.cause, *told.evidence])
    assert " ".join(text.split())[:60] in shown or (category == why.UNKNOWN and place == "job")


def test_the_reason_counts_more_than_the_log_of_an_earlier_attempt() -> None:
    log = ("worker-0 | ray.exceptions.OutOfMemoryError",)
    assert failed("/x: No space left on device", log=log).category == why.STORAGE
    assert failed("a worker failed: The actor died", log=log).category == why.OUT_OF_MEMORY


@pytest.mark.parametrize("code", [-9, 137])
def test_a_driver_that_was_killed_most_often_ran_out_of_memory(code: int) -> None:
    told = failed("the driver died without a word", job=RayJob("FAILED", driver_exit_code=code))
    assert told.category == why.OUT_OF_MEMORY
    gone = failed(f"the driver died without a word; Job failed with exit code {code}, last logs")
    assert gone.category == why.OUT_OF_MEMORY


def test_code_that_ray_cannot_set_up() -> None:
    job = RayJob("FAILED", "runtime_env:\nno such package: numpi", "RUNTIME_ENV_SETUP_FAILURE")
    told = failed("the driver died without a word; runtime_env", job=job)
    assert told.category == why.CODE_SHIPPING
    assert "no such package: numpi" in told.evidence


def test_a_driver_that_died_with_nothing_else_known_even_when_the_cluster_is_gone() -> None:
    refusal = ClusterError("no cluster answers at x", "")
    told = failed(
        "its process (pid 4) is gone without a word", refusal=refusal, log=("driver | z",)
    )
    assert told.category == why.DRIVER_DIED
    assert told.evidence == ("asked now: no cluster answers at x", "driver | z")
    assert told.next == "rnnjob logs r"
    assert failed("strange").category == why.UNKNOWN


def test_evidence_is_short_and_told_once() -> None:
    told = failed("odd", log=(*["driver | the same"] * 9, "driver | " + "x" * 5000))
    assert len(told.evidence) == 2
    assert max(map(len, told.evidence)) <= 300


def test_facts_of_a_run_that_waits_for_another_on_a_cluster_that_is_gone(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    address = "http://127.0.0.1:9"
    run = runs.create_run(storage, "a", JobSpec().to_yaml(), "cluster", address)
    (tmp_path / "a" / "logs").mkdir()
    (tmp_path / "a" / "logs" / "driver.log").write_text("2026-01-01 00:00:00.000 INFO hello\n")
    begun = time.monotonic()
    facts = facts_module.gather(Client(str(tmp_path)), "a")
    assert time.monotonic() - begun < 8
    assert facts.refusal is not None and "no cluster answers" in facts.refusal.cause
    assert facts.log == ("driver | 2026-01-01 00:00:00.000 INFO hello",)
    assert facts.need == Need(1, {"CPU": 1.0})
    assert facts.command("wait") == runs.next_command(run, "wait")
    assert classify(facts).category == why.UNREACHABLE
    assert runs.read_status(run).state == runs.QUEUED
