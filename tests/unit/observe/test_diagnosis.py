"""The diagnosis of a run: each category follows from given facts."""

import shlex
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator import runs
from orchestrator.client import Client
from orchestrator.cluster.capacity import ResourceRequest
from orchestrator.cluster.dashboard import Node
from orchestrator.cluster.ray_jobs_api import RayJob, Scaling
from orchestrator.observe import facts as facts_module
from orchestrator.observe import failure_patterns as categories
from orchestrator.observe import observer as observer_module
from orchestrator.observe.diagnosis import Answer, classify
from orchestrator.observe.facts import Facts, Holder
from orchestrator.observe.observer import Observer
from orchestrator.runs import RunStatus
from orchestrator.spec.job_spec import JobSpec
from tests.conftest import HANG_S
from workers.errors import ClusterError, InputError
from workers.storage.storage import Storage

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
    """Return the answer for a run in a state. `more`: further fields of RunStatus or of Facts."""
    of_status = {k: v for k, v in more.items() if k in RunStatus.__dataclass_fields__}
    of_facts = {k: v for k, v in more.items() if k not in of_status}
    status = RunStatus("r", state, "cluster", **of_status)
    return classify(Facts(status=status, command=command, **of_facts))


def failed(reason: str = "", **more: Any) -> Answer:
    return answer(runs.FAILED, reason=reason, **{"exit_code": 1, **more})


def test_a_run_that_runs_has_nothing_wrong() -> None:
    found = answer(runs.RUNNING, workers=2, attempt=1, progress="last told: step 8")
    assert found == Answer(
        categories.RUNNING,
        "nothing is wrong: it runs on 2 worker(s)",
        ("last told: step 8",),
        "rnnjob logs r -f",
    )
    assert "attempt 2" in answer(runs.RUNNING, workers=2, attempt=2).cause
    assert answer(runs.PENDING).cause == "nothing is wrong: its workers are starting"
    assert answer(runs.QUEUED).category == categories.RUNNING


def test_workers_that_are_started_again_were_lost() -> None:
    found = answer(runs.RESTARTING, reason="worker 1 died", workers=2, attempt=1)
    assert found.category == categories.WORKER_LOST
    assert found.cause == "it is started again: worker 1 died"


def test_a_run_that_ended_as_wanted() -> None:
    assert answer(runs.SUCCEEDED).category == categories.SUCCEEDED
    stopped = answer(runs.STOPPED, reason="rnnjob stop", cure="go on: x", exit_code=5)
    assert (stopped.category, stopped.cause, stopped.next) == (
        categories.STOPPED,
        "rnnjob stop",
        "go on: x",
    )
    late = answer(runs.STOPPED, reason="time limit of 2h reached", exit_code=124)
    assert (late.category, late.cause) == (categories.TIME_LIMIT, "time limit of 2h reached")


def test_a_worker_that_fits_on_no_node_is_infeasible_and_the_largest_node_is_named() -> None:
    found = answer(
        runs.PENDING, request=ResourceRequest(1, {"CPU": 4.0}), nodes=(node(), node(2, 2))
    )
    assert found.category == categories.INFEASIBLE
    assert found.cause == "a worker needs 4 CPU, the largest of 2 node(s) has 2 CPU"
    assert found.evidence == ("the cluster has 2 node(s) with 3 CPU, 3 free",)
    assert found.next.startswith("rnnjob stop r, and ask for less")


def test_more_workers_than_all_live_nodes_can_hold_are_infeasible() -> None:
    nodes = (node(), node(), node(alive=False))
    found = answer(runs.PENDING, request=ResourceRequest(3, {"CPU": 1.0}), nodes=nodes)
    assert found.category == categories.INFEASIBLE
    assert found.cause == "3 workers need 1 CPU each, the 2 node(s) have room for 2"


def test_gpus_that_are_nowhere_are_infeasible() -> None:
    request = ResourceRequest(1, {"CPU": 1.0, "GPU": 1.0})
    found = answer(runs.PENDING, request=request, nodes=(node(8, 8),))
    assert found.cause == (
        "a worker needs 1 CPU and 1 GPU, the largest of 1 node(s) has 8 CPU and 0 GPU"
    )
    assert "ask for less: --workers, --cpus-per-worker, --gpus-per-worker" in found.next
    assert (
        answer(runs.PENDING, request=request, nodes=(node(8, 8, gpus=1),)).category
        == categories.RUNNING
    )


def test_the_reason_from_the_driver_is_enough_to_call_a_run_infeasible() -> None:
    reason = "a worker needs 4 CPU, the largest of 3 node(s) has 1 CPU"
    assert answer(runs.PENDING, reason=reason).category == categories.INFEASIBLE
    ended = failed(f"the workers did not start within 20s: {reason}", exit_code=6, cure="less")
    assert (ended.category, ended.next) == (categories.INFEASIBLE, "less")


def test_a_run_that_waits_names_who_holds_the_resources() -> None:
    found = answer(
        runs.PENDING,
        reason="2 worker(s) need 1 CPU each, 0 CPU are free: others hold the rest",
        request=ResourceRequest(2, {"CPU": 1.0}),
        nodes=(node(2, 0), node(2, 0)),
        others=(Holder("big", "RUNNING", 2.0), Holder("idle", "PENDING", 0.0)),
    )
    assert (found.category, found.cause) == (categories.WAITING, "it waits for big")
    assert "big (RUNNING) holds 2 CPU" in found.evidence
    assert "jobs that are not in this storage hold 2 CPU" in found.evidence
    assert not any("idle" in line for line in found.evidence)
    assert found.next == "rnnjob wait r"
    ended = failed("not within 10m: 0 CPU are free: others hold the rest", exit_code=6)
    assert ended.category == categories.WAITING


def test_a_driver_that_ray_still_prepares_is_waited_for() -> None:
    found = answer(runs.QUEUED, job=RayJob("PENDING", "Job has not started yet."))
    assert found.category == categories.WAITING
    assert found.evidence == ("Ray Jobs: PENDING: Job has not started yet.",)


def test_nodes_that_are_starting_matter_more_than_what_the_present_nodes_lack() -> None:
    found = answer(
        runs.PENDING,
        reason="a worker needs 1 CPU and 1 GPU, the largest of 1 node(s) has 2 CPU and 0 GPU",
        request=ResourceRequest(1, {"CPU": 1.0, "GPU": 1.0}),
        nodes=(node(2, 2),),
        scaling=Scaling(starting=("10.0.0.7: gpu_worker, setting-up",)),
    )
    assert found.category == categories.AUTOSCALING
    assert "the autoscaler starts: 10.0.0.7: gpu_worker, setting-up" in found.evidence


def test_an_autoscaler_that_fails_is_part_of_the_evidence() -> None:
    found = answer(
        runs.PENDING,
        request=ResourceRequest(1, {"CPU": 9.0}),
        nodes=(node(),),
        scaling=Scaling(failures=("gpu_worker: LaunchFailed, quota",)),
    )
    assert found.category == categories.INFEASIBLE
    assert "the autoscaler failed: gpu_worker: LaunchFailed, quota" in found.evidence


@pytest.mark.parametrize("state", [runs.QUEUED, runs.PENDING, runs.RUNNING])
def test_a_cluster_that_does_not_answer_is_reported_with_what_the_record_says(state: str) -> None:
    refusal = ClusterError("no cluster answers at http://x:1: refused", "check the address")
    found = answer(state, refusal=refusal, log=("driver | a", "driver | b"))
    assert found.category == categories.UNREACHABLE
    assert found.cause == "no cluster answers at http://x:1: refused; the job goes on there"
    assert found.evidence == (f"its record says {state}", "driver | a", "driver | b")
    assert found.next == "check the address"
    silent = answer(runs.UNREACHABLE, reason="last seen at noon", cure="mend", refusal=refusal)
    assert silent.cause.endswith("refused; the job may well go on there")
    assert (silent.evidence, silent.next) == (("last seen at noon",), "mend")


@pytest.mark.parametrize(
    "refusal",
    [
        ClusterError("the cluster at x asks for a token (HTTP 401)", "export"),
        ClusterError("the cluster at x refuses the token (HTTP 403)", "export"),
        InputError("the token file /t cannot be read: gone", "export"),
    ],
)
def test_a_refused_token_is_a_problem_of_authentication(refusal: ClusterError) -> None:
    found = answer(runs.RUNNING, refusal=refusal)
    assert (found.category, found.cause, found.next) == (
        categories.AUTHENTICATION,
        refusal.cause,
        "export",
    )


@pytest.mark.parametrize(
    ("error", "category"),
    [
        ("DataError", categories.DATA),
        ("DivergedError", categories.DIVERGED),
        ("ModelError", categories.MODEL),
        ("ModelFailedError", categories.MODEL),
        ("StorageError", categories.STORAGE),
    ],
)
def test_the_class_of_an_error_decides_the_category(error: str, category: str) -> None:
    found = failed("what happened", error=error, cure="the cure", log=("driver | what happened",))
    assert (found.category, found.cause, found.next) == (category, "what happened", "the cure")


@pytest.mark.parametrize(
    ("text", "category"),
    [
        (
            "ray.exceptions.OutOfMemoryError: Task was killed due to the node",
            categories.OUT_OF_MEMORY,
        ),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", categories.OUT_OF_MEMORY),
        ("the node is running low on memory", categories.OUT_OF_MEMORY),
        ("RuntimeError: Version mismatch: The cluster was started with", categories.VERSION),
        ("ray.exceptions.AuthenticationError: Authentication required", categories.AUTHENTICATION),
        ("ModuleNotFoundError: No module named 'orchestrator'", categories.CODE_SHIPPING),
        ("workers.errors.NoSuchRunError: /mnt/x holds no run", categories.STORAGE),
        ("OSError: [Errno 28] No space left on device", categories.STORAGE),
        ("ray.exceptions.ActorDiedError: The actor died unexpectedly", categories.WORKER_LOST),
        (RAY_OF_A_LOST_WORKER + " worker died unexpectedly", categories.WORKER_LOST),
        ("Segmentation fault in something else", categories.UNKNOWN),
    ],
)
@pytest.mark.parametrize("place", ["reason", "job", "log"])
def test_a_known_text_is_recognized_wherever_it_was_found(
    text: str, category: str, place: str
) -> None:
    found = failed(
        text if place == "reason" else "a worker failed",
        job=RayJob("FAILED", f"Job failed\n{text}\n", driver_exit_code=1)
        if place == "job"
        else None,
        log=("driver | before", f"worker-0 | {text}") if place == "log" else (),
    )
    assert found.category == category
    shown = " ".join([found.cause, *found.evidence])
    assert " ".join(text.split())[:60] in shown or (
        category == categories.UNKNOWN and place == "job"
    )


def test_the_reason_counts_more_than_the_log_of_an_earlier_attempt() -> None:
    log = ("worker-0 | ray.exceptions.OutOfMemoryError",)
    assert failed("/x: No space left on device", log=log).category == categories.STORAGE
    assert failed("a worker failed: The actor died", log=log).category == categories.OUT_OF_MEMORY


@pytest.mark.parametrize("code", [-9, 137])
def test_a_driver_that_was_killed_most_often_ran_out_of_memory(code: int) -> None:
    found = failed("the driver died without a word", job=RayJob("FAILED", driver_exit_code=code))
    assert found.category == categories.OUT_OF_MEMORY
    gone = failed(f"the driver died without a word; Job failed with exit code {code}, last logs")
    assert gone.category == categories.OUT_OF_MEMORY


def test_code_that_ray_cannot_set_up_is_a_problem_of_code_shipping() -> None:
    job = RayJob("FAILED", "runtime_env:\nno such package: numpi", "RUNTIME_ENV_SETUP_FAILURE")
    found = failed("the driver died without a word; runtime_env", job=job)
    assert found.category == categories.CODE_SHIPPING
    assert "no such package: numpi" in found.evidence


def test_a_driver_that_died_with_nothing_else_known_even_when_the_cluster_is_gone() -> None:
    refusal = ClusterError("no cluster answers at x", "")
    found = failed(
        "its process (pid 4) is gone without a word", refusal=refusal, log=("driver | z",)
    )
    assert found.category == categories.DRIVER_DIED
    assert found.evidence == ("asked now: no cluster answers at x", "driver | z")
    assert found.next == "rnnjob logs r"
    assert failed("strange").category == categories.UNKNOWN


def test_evidence_is_short_and_not_repeated() -> None:
    found = failed("odd", log=(*["driver | the same"] * 9, "driver | " + "x" * 5000))
    assert len(found.evidence) == 2
    assert max(map(len, found.evidence)) <= 300


def test_facts_of_a_run_that_waits_for_another_on_a_cluster_that_is_gone(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    address = "http://127.0.0.1:9"
    run = runs.create_run(storage, "a", JobSpec().to_yaml(), "cluster", address)
    (tmp_path / "a" / "logs").mkdir()
    (tmp_path / "a" / "logs" / "driver.log").write_text("2026-01-01 00:00:00.000 INFO hello\n")
    begun = time.monotonic()
    client = Client(str(tmp_path), address)
    facts = facts_module.gather(
        client.observe("a"), lambda status: client.connection(status.address), client.storage
    )
    assert time.monotonic() - begun < HANG_S
    assert facts.refusal is not None and "no cluster answers" in facts.refusal.cause
    assert facts.log == ("driver | 2026-01-01 00:00:00.000 INFO hello",)
    assert facts.request == ResourceRequest(1, {"CPU": 1.0})
    assert facts.command("wait") == runs.next_command(run, "wait")
    assert (facts.status.state, classify(facts).category) == (
        runs.UNREACHABLE,
        categories.UNREACHABLE,
    )
    assert runs.read_status(run).state == runs.QUEUED


def test_a_cluster_that_never_answers_is_given_up_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer_module, "_DEADLINE_S", 0.2)
    storage = Storage(str(tmp_path))
    address = "http://127.0.0.1:9"
    run = runs.create_run(storage, "a", JobSpec().to_yaml(), "cluster", address)
    never = threading.Event()

    def hang(_: object) -> Any:
        never.wait()
        raise ClusterError("it answered at last", "")

    facts = facts_module.gather(Observer(run, hang), hang, storage)
    never.set()
    assert facts.refusal is not None
    assert facts.refusal.cause == f"the cluster at {address} did not answer within 0.2 s"
    assert classify(facts).category == categories.UNREACHABLE
