"""Explain why a run is not running or why it failed, and give the evidence.

The answer depends only on the facts that `orchestrator.observe.facts` gathers.
"""

import re
from dataclasses import asdict, dataclass, replace

from orchestrator import runs
from orchestrator.cluster.capacity import says_it_cannot_fit, why_it_cannot_fit
from orchestrator.observe.facts import Facts
from orchestrator.observe.failure_patterns import (
    AUTHENTICATION,
    AUTOSCALING,
    CODE_SHIPPING,
    CURES,
    DRIVER_DIED,
    HEAD_LOST,
    INFEASIBLE,
    OUT_OF_MEMORY,
    RUNNING,
    STANDSTILL,
    STOPPED,
    SUCCEEDED,
    TIME_LIMIT,
    UNKNOWN,
    UNREACHABLE,
    WAITING,
    WORKER_LOST,
    category_of_error,
    category_of_lines,
)
from workers.errors import JobError
from workers.storage.typed_json import Json

_MAX_EVIDENCE = 6
_LAST_RESTARTS = 4
_MAX_CHARACTERS = 300
_SIGKILL = (-9, 137)
_TIME_LIMIT_EXIT = 124
_RESOURCES_EXIT = 6


@dataclass(frozen=True)
class Answer:
    """The answer to `rnnjob why`."""

    category: str
    """One of the categories in `orchestrator.observe.failure_patterns`."""
    cause: str
    """The cause, in one sentence."""
    evidence: tuple[str, ...]
    """Lines from the records, the logs and the cluster that show the cause."""
    next: str
    """What the user can do next."""

    def to_json(self) -> Json:
        return asdict(self)


def classify(facts: Facts) -> Answer:
    """Return the answer that follows from the facts."""
    answer = _classify(facts)
    evidence = (*answer.evidence, *_evidence(*facts.restarts[-_LAST_RESTARTS:]))
    return replace(answer, evidence=tuple(e for e in evidence if e != answer.cause))


def _classify(facts: Facts) -> Answer:
    status = facts.status
    if status.state == runs.SUCCEEDED:
        return Answer(SUCCEEDED, "it ended well", _evidence(facts.progress), facts.command("show"))
    if status.exit_code == _TIME_LIMIT_EXIT:
        return _with_cure(facts, TIME_LIMIT, status.reason, _evidence(facts.progress))
    if status.state == runs.STOPPED:
        return _with_cure(
            facts, STOPPED, status.reason or "it was stopped", _evidence(facts.progress)
        )
    if status.is_terminal:
        return _why_it_failed(facts)
    return _why_it_does_not_run(facts)


# --- runs that have not ended ---


def _why_it_does_not_run(facts: Facts) -> Answer:
    status = facts.status
    if status.stalled_since is not None:
        return _stands_still(facts)
    if facts.refusal:
        return _cluster_does_not_answer(facts, facts.refusal)
    if status.state == runs.RUNNING:
        return _running(facts)
    if status.state == runs.RESTARTING:
        return Answer(
            WORKER_LOST,
            "it is started again: " + (status.reason or "its workers failed"),
            _evidence(facts.progress, _why_it_cannot_fit(facts), *_node_lines(facts)),
            facts.command("logs", "-f"),
        )
    if facts.job and facts.job.status == "PENDING":
        message = " ".join(facts.job.message.split())
        return Answer(
            WAITING,
            "its driver has not started: Ray sets up what the job brings along",
            _evidence(f"Ray Jobs: PENDING: {message}"),
            facts.command("describe"),
        )
    if status.state == runs.PENDING and (status.reason or _why_it_cannot_fit(facts)):
        return _waiting(facts)
    doing = "its workers are starting" if status.state == runs.PENDING else "it is being started"
    return Answer(RUNNING, f"nothing is wrong: {doing}", (), facts.command("logs", "-f"))


def _stands_still(facts: Facts) -> Answer:
    stop = facts.command("stop", "--force") if facts.status.is_on_cluster else facts.command("stop")
    return Answer(
        STANDSTILL,
        facts.status.reason,
        _evidence(facts.progress, *facts.log[-2:]),
        f"look at that process and its disk or GPU; or {stop}, then {facts.command('resume')}; "
        "to have such workers started again: --set limits.stall_timeout=5m",
    )


def _cluster_does_not_answer(facts: Facts, refusal: JobError) -> Answer:
    refused = "token" in refusal.cause
    status = facts.status
    is_known = status.state != runs.UNREACHABLE  # its owner renews its lease
    goes_on = "the job goes on there" if is_known else "the job may well go on there"
    last = status.reason or f"its record says {status.state}"
    return Answer(
        AUTHENTICATION if refused else UNREACHABLE,
        refusal.cause if refused else f"{refusal.cause}; {goes_on}",
        _evidence(last, facts.progress, *facts.log[-2:]),
        refusal.cure if is_known else status.cure,
    )


def _running(facts: Facts) -> Answer:
    status = facts.status
    attempt = f", at attempt {status.attempt}" if status.attempt > 1 else ""
    return Answer(
        RUNNING,
        f"nothing is wrong: it runs on {status.workers} worker(s){attempt}",
        _evidence(status.reason, facts.progress),
        facts.command("logs", "-f"),
    )


def _waiting(facts: Facts) -> Answer:
    reason = facts.status.reason
    misfit = _why_it_cannot_fit(facts)
    if facts.scaling.starting:
        nodes = (f"the autoscaler starts: {line}" for line in facts.scaling.starting)
        return Answer(
            AUTOSCALING,
            "the cluster starts nodes that it needs",
            _evidence(reason, *nodes),
            facts.command("wait"),
        )
    failures = (f"the autoscaler failed: {line}" for line in facts.scaling.failures)
    if misfit or says_it_cannot_fit(reason):
        return Answer(
            INFEASIBLE,
            misfit or reason,
            _evidence(reason, *_node_lines(facts), *failures),
            f"{facts.command('stop')}, and ask for less: {_options(facts)}",
        )
    held = [f"{o.run_id} ({o.state}) holds {o.cpus:g} CPU" for o in facts.others if o.cpus]
    held_by_strangers = _cpus_held_by_strangers(facts)
    if held_by_strangers >= 1:
        held.append(f"jobs that are not in this storage hold {held_by_strangers:g} CPU")
    return Answer(
        WAITING,
        "it waits for " + (", ".join(o.run_id for o in facts.others if o.cpus) or "room"),
        _evidence(reason, *held, *_node_lines(facts), *failures),
        facts.command("wait"),
    )


def _options(facts: Facts) -> str:
    return facts.request.options if facts.request else "--workers, --cpus-per-worker"


def _why_it_cannot_fit(facts: Facts) -> str:
    nodes = [node.resources for node in facts.nodes if node.is_alive]
    return why_it_cannot_fit(facts.request, nodes) if facts.request and nodes else ""


def _cpus_held_by_strangers(facts: Facts) -> float:
    """Return how many CPUs jobs hold that are not in this storage; 0 if that is unknown."""
    alive = [node for node in facts.nodes if node.is_alive]
    if any(node.cpus_free is None for node in alive):
        return 0.0
    used = sum(node.cpus_total - (node.cpus_free or 0.0) for node in alive)
    return used - sum(other.cpus for other in facts.others)


def _node_lines(facts: Facts) -> list[str]:
    alive = [node for node in facts.nodes if node.is_alive]
    if not alive:
        return []
    total, free = sum(n.cpus_total for n in alive), [n.cpus_free for n in alive]
    known = "" if None in free else f", {sum(f or 0.0 for f in free):g} free"
    return [f"the cluster has {len(alive)} node(s) with {total:g} CPU{known}"]


# --- runs that have failed ---


def _why_it_failed(facts: Facts) -> Answer:
    status, job = facts.status, facts.job
    if category := category_of_error(status.error):
        return _with_cure(facts, category, status.reason, _evidence(*facts.log[-3:]))
    if status.exit_code == _RESOURCES_EXIT:
        infeasible = says_it_cannot_fit(status.reason) or "this machine has" in status.reason
        category = INFEASIBLE if infeasible else WAITING
        return _with_cure(facts, category, status.reason, _evidence(*_node_lines(facts)))
    if status.state == runs.LOST and status.is_on_cluster and _has_lost_its_head(facts):
        return Answer(HEAD_LOST, status.reason, _evidence(facts.progress), status.cure)
    if job and job.error_type == "RUNTIME_ENV_SETUP_FAILURE":
        return Answer(
            CODE_SHIPPING,
            "what the job brings along could not be set up",
            _evidence(*_last_lines(job.message)),
            "check --working-dir and --env, and submit again",
        )
    if (job and job.driver_exit_code in _SIGKILL) or _says_killed_by_sigkill(status.reason):
        return Answer(
            OUT_OF_MEMORY,
            "its driver, or what keeps it running, was killed by SIGKILL, which most often is the "
            "system's out-of-memory killer",
            _evidence(status.reason, *facts.log[-2:]),
            f"free memory on the head node, then {facts.command('resume')}",
        )
    return _from_text(facts) or _last_resort(facts)


def _has_lost_its_head(facts: Facts) -> bool:
    """Whether the cluster forgot the job, or lost what Ray runs a job with on its head."""
    return not facts.refusal and (facts.job is None or facts.job.lost_its_supervisor)


def _says_killed_by_sigkill(reason: str) -> bool:
    return re.search(r"exit code (-9|137)\b|was killed by SIGKILL", reason) is not None


def _from_text(facts: Facts) -> Answer | None:
    found = category_of_lines(facts.lines_about_the_end)
    if found is None:
        return None
    category, cause, lines = found
    return _with_cure(facts, category, cause, _evidence(*lines[:3]))


def _last_resort(facts: Facts) -> Answer:
    reason = facts.status.reason
    died = reason.startswith("the driver died") or "gone without a word" in reason
    refusal = [f"asked now: {facts.refusal.cause}"] if facts.refusal else []
    said = _last_lines(facts.job.message) if facts.job else []
    return _with_cure(
        facts,
        DRIVER_DIED if died else UNKNOWN,
        reason or "it failed without a reason",
        _evidence(*refusal, *said, *facts.log[-4:]),
    )


def _with_cure(facts: Facts, category: str, cause: str, evidence: tuple[str, ...]) -> Answer:
    """Return an answer with a cure.

    The cure from the run's own outcome is best, but it fits only the cause that the outcome names.
    For another cause, the general cure of the category is used.
    """
    command = facts.command
    general = CURES.get(category, "{logs}").format(resume=command("resume"), logs=command("logs"))
    own = facts.status.cure
    cure = general if category in CURES and cause != facts.status.reason else own or general
    return Answer(category, cause, evidence, cure)


def _last_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()][-3:]


def _evidence(*lines: str) -> tuple[str, ...]:
    """Return lines of evidence: few and short enough to be read, and each only once."""
    shortened = (" ".join(line.split())[:_MAX_CHARACTERS] for line in lines)
    return tuple(dict.fromkeys(line for line in shortened if line))[:_MAX_EVIDENCE]
