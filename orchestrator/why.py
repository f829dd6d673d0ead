"""Why a run does not run, or why it failed: one answer, with its evidence.

A pure function over facts; `orchestrator.facts` gathers them.
"""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace

from orchestrator import runs
from orchestrator.cluster.dashboard import Node
from orchestrator.cluster.jobs import RayJob, Scaling
from orchestrator.room import Need, says_never, what_never_fits
from orchestrator.runs import RunStatus
from workers.errors import JobError
from workers.jsons import Json

RUNNING, SUCCEEDED, STOPPED = "running", "succeeded", "stopped"
INFEASIBLE, WAITING, AUTOSCALING = "infeasible", "waiting", "autoscaling"
AUTHENTICATION, VERSION, UNREACHABLE = "authentication", "version", "unreachable"
CODE_SHIPPING, STORAGE, DATA = "code-shipping", "storage", "data"
OUT_OF_MEMORY, WORKER_LOST, DRIVER_DIED = "out-of-memory", "worker-lost", "driver-died"
DIVERGED, TIME_LIMIT, UNKNOWN = "diverged", "time-limit", "unknown"

_MAX_EVIDENCE = 6
_LAST_RESTARTS = 4
_MAX_CHARACTERS = 300
_SIGKILL = (-9, 137)
_TIME_LIMIT_EXIT = 124
_RESOURCES_EXIT = 6


@dataclass(frozen=True)
class Holder:
    """Another run of the same storage on the same cluster, and the CPUs that it holds."""

    run_id: str
    state: str
    cpus: float


@dataclass(frozen=True)
class Facts:
    """All that an answer is drawn from."""

    status: RunStatus
    command: Callable[..., str]
    """A command about this run, to paste: verb and further words."""
    log: tuple[str, ...] = ()
    """Its last lines, oldest first."""
    progress: str = ""
    """The last thing that the training told."""
    restarts: tuple[str, ...] = ()
    """What each restart was for, oldest first."""
    need: Need | None = None
    job: RayJob | None = None
    """None where the cluster does not know it, was not asked or cannot be."""
    refusal: JobError | None = None
    """Why the cluster could not be asked."""
    nodes: tuple[Node, ...] = ()
    scaling: Scaling = field(default_factory=Scaling)
    others: tuple[Holder, ...] = ()

    @property
    def told(self) -> tuple[list[str], list[str], list[str]]:
        """What says how it ended, the most telling first: the reason, Ray's message, the log, whose
        lines may be of an earlier attempt. Of each the last line first."""
        message = self.job.message.splitlines() if self.job else []
        return [self.status.reason], message[::-1], list(self.log[::-1])


@dataclass(frozen=True)
class Answer:
    """One of the categories, the cause in a sentence, what shows it, and what to do next."""

    category: str
    cause: str
    evidence: tuple[str, ...]
    next: str

    def to_json(self) -> Json:
        return asdict(self)


def classify(facts: Facts) -> Answer:
    """The answer that fits the facts."""
    answer = _classify(facts)
    evidence = (*answer.evidence, *_seen(*facts.restarts[-_LAST_RESTARTS:]))
    return replace(answer, evidence=tuple(e for e in evidence if e != answer.cause))


def _classify(facts: Facts) -> Answer:
    status = facts.status
    if status.state == runs.SUCCEEDED:
        return Answer(SUCCEEDED, "it ended well", _seen(facts.progress), facts.command("show"))
    if status.exit_code == _TIME_LIMIT_EXIT:
        return _with_cure(facts, TIME_LIMIT, status.reason, _seen(facts.progress))
    if status.state == runs.STOPPED:
        return _with_cure(facts, STOPPED, status.reason or "it was stopped", _seen(facts.progress))
    if status.is_terminal:
        return _why_it_failed(facts)
    return _why_it_does_not_run(facts)


# --- not ended ---


def _why_it_does_not_run(facts: Facts) -> Answer:
    status = facts.status
    if facts.refusal:
        return _not_answering(facts, facts.refusal)
    if status.state == runs.RUNNING:
        return _running(facts)
    if status.state == runs.RESTARTING:
        return Answer(
            WORKER_LOST,
            "it is started again: " + (status.reason or "its workers failed"),
            _seen(facts.progress, _lacking(facts), *_of_nodes(facts)),
            facts.command("logs", "-f"),
        )
    if facts.job and facts.job.status == "PENDING":
        message = " ".join(facts.job.message.split())
        return Answer(
            WAITING,
            "its driver has not started: Ray sets up what the job brings along",
            _seen(f"Ray Jobs: PENDING: {message}"),
            facts.command("describe"),
        )
    if status.state == runs.PENDING and (status.reason or _lacking(facts)):
        return _waiting(facts)
    what = "its workers are starting" if status.state == runs.PENDING else "it is being started"
    return Answer(RUNNING, f"nothing is wrong: {what}", (), facts.command("logs", "-f"))


def _not_answering(facts: Facts, refusal: JobError) -> Answer:
    refused = "token" in refusal.cause
    last = f"its record says {facts.status.state}" + (
        f": {facts.status.reason}" if facts.status.reason else ""
    )
    cause = refusal.cause if refused else f"{refusal.cause}; the job may well go on there"
    return Answer(
        AUTHENTICATION if refused else UNREACHABLE,
        cause,
        _seen(last, facts.progress, *facts.log[-2:]),
        refusal.cure,
    )


def _running(facts: Facts) -> Answer:
    status = facts.status
    again = f", at attempt {status.attempt}" if status.attempt > 1 else ""
    return Answer(
        RUNNING,
        f"nothing is wrong: it runs on {status.workers} worker(s){again}",
        _seen(facts.progress),
        facts.command("logs", "-f"),
    )


def _waiting(facts: Facts) -> Answer:
    reason = facts.status.reason
    lacking = _lacking(facts)
    if facts.scaling.starting:
        nodes = (f"the autoscaler starts: {line}" for line in facts.scaling.starting)
        return Answer(
            AUTOSCALING,
            "the cluster starts nodes that it needs",
            _seen(reason, *nodes),
            facts.command("wait"),
        )
    failures = (f"the autoscaler failed: {line}" for line in facts.scaling.failures)
    if lacking or says_never(reason):
        return Answer(
            INFEASIBLE,
            lacking or reason,
            _seen(reason, *_of_nodes(facts), *failures),
            f"{facts.command('stop')}, and ask for less: --workers, --cpus-per-worker",
        )
    held = [f"{o.run_id} ({o.state}) holds {o.cpus:g} CPU" for o in facts.others if o.cpus]
    rest = _held_by_others(facts)
    if rest >= 1:
        held.append(f"jobs that are not in this storage hold {rest:g} CPU")
    return Answer(
        WAITING,
        "it waits for " + (", ".join(o.run_id for o in facts.others if o.cpus) or "room"),
        _seen(reason, *held, *_of_nodes(facts), *failures),
        facts.command("wait"),
    )


def _lacking(facts: Facts) -> str:
    """What no node, or not all of them together, can give; empty where it would fit."""
    nodes = [node.resources for node in facts.nodes if node.is_alive]
    return what_never_fits(facts.need, nodes) if facts.need and nodes else ""


def _held_by_others(facts: Facts) -> float:
    alive = [node for node in facts.nodes if node.is_alive]
    if any(node.cpus_free is None for node in alive):
        return 0.0
    used = sum(node.cpus_total - (node.cpus_free or 0.0) for node in alive)
    return used - sum(other.cpus for other in facts.others)


def _of_nodes(facts: Facts) -> list[str]:
    alive = [node for node in facts.nodes if node.is_alive]
    if not alive:
        return []
    total, free = sum(n.cpus_total for n in alive), [n.cpus_free for n in alive]
    known = "" if None in free else f", {sum(f or 0.0 for f in free):g} free"
    return [f"the cluster has {len(alive)} node(s) with {total:g} CPU{known}"]


# --- failed ---

_BY_ERROR = {
    "DataError": DATA,
    "DivergedError": DIVERGED,
    "StorageError": STORAGE,
    "RowAccountError": DATA,
}

# What Ray says of a worker that ended names the out-of-memory killer
# among what may have been: such a line is of a worker lost, not of memory.
_GUESS = re.compile(r"potential root causes|OOM killer due to high memory usage")
_BY_TEXT = [
    (
        OUT_OF_MEMORY,
        "memory ran out",
        r"OutOfMemoryError|out of memory|running low on memory|\bMemoryError\b|OOM[- ]?killed"
        r"|Cannot allocate memory",
    ),
    (
        VERSION,
        "the versions of client and cluster, or of its nodes, differ",
        r"[Vv]ersion mismatch|runs (Ray|Python) \S+, this client",
    ),
    (
        AUTHENTICATION,
        "a token was refused",
        r"AuthenticationError|InvalidAuthToken|refuses the token|asks for a token",
    ),
    (
        CODE_SHIPPING,
        "what the job brings along could not be set up",
        r"RuntimeEnvSetupError|runtime_env setup failed|ModuleNotFoundError|ImportError:"
        r"|No module named",
    ),
    (
        STORAGE,
        "the storage is not there, not shared or not writable where the job runs",
        r"holds no run|cannot (write|create|read|open|list) \S+:|No space left on device"
        r"|Read-only file system",
    ),
    (DATA, "the data set is missing or damaged", r"DataError"),
    (DIVERGED, "the loss is no number any more", r"DivergedError"),
]
# Behind many a worker that was lost is one of the above.
_LOST = [
    (
        WORKER_LOST,
        "a worker was lost",
        r"ActorDiedError|ActorUnavailable|RayActorError|NodeDiedError|[Ww]orker \S+ died"
        r"|node .{0,80}(died|dead|was terminated)|Worker exit type|worker process .{0,40}died"
        r"|died unexpectedly|actor died",
    ),
]


def _why_it_failed(facts: Facts) -> Answer:
    status, job = facts.status, facts.job
    if category := _BY_ERROR.get(status.error):
        return _with_cure(facts, category, status.reason, _seen(*facts.log[-3:]))
    if status.exit_code == _RESOURCES_EXIT:
        infeasible = says_never(status.reason) or "this machine has" in status.reason
        category = INFEASIBLE if infeasible else WAITING
        return _with_cure(facts, category, status.reason, _seen(*_of_nodes(facts)))
    if job and job.error_type == "RUNTIME_ENV_SETUP_FAILURE":
        return Answer(
            CODE_SHIPPING,
            "what the job brings along could not be set up",
            _seen(*_last_useful(job.message)),
            "check --working-dir and --env, and submit again",
        )
    if (job and job.driver_exit_code in _SIGKILL) or _says_killed(status.reason):
        return Answer(
            OUT_OF_MEMORY,
            "its driver was killed (exit code -9), which most often is the system's out-of-memory "
            "killer",
            _seen(status.reason, *facts.log[-2:]),
            f"free memory on the head node, then {facts.command('resume')}",
        )
    return _by_text(facts) or _last_resort(facts)


def _says_killed(reason: str) -> bool:
    return re.search(r"exit code (-9|137)\b|driver was killed by SIGKILL", reason) is not None


def _by_text(facts: Facts) -> Answer | None:
    for patterns in (_BY_TEXT, _LOST):
        for lines in facts.told:
            for category, cause, pattern in patterns:
                if found := [line for line in lines if _fits(line, category, pattern)]:
                    return _with_cure(facts, category, cause, _seen(*found[:3]))
    return None


def _fits(line: str, category: str, pattern: str) -> bool:
    guessed = category == OUT_OF_MEMORY and _GUESS.search(line) is not None
    return re.search(pattern, line) is not None and not guessed


def _last_resort(facts: Facts) -> Answer:
    reason = facts.status.reason
    died = reason.startswith("the driver died") or "gone without a word" in reason
    refusal = [f"asked now: {facts.refusal.cause}"] if facts.refusal else []
    return _with_cure(
        facts,
        DRIVER_DIED if died else UNKNOWN,
        reason or "it failed without a reason",
        _seen(*refusal, *facts.log[-4:]),
    )


_CURES = {
    OUT_OF_MEMORY: "take less at once: --batch-size, or more nodes; then {resume}",
    VERSION: "install the same Ray and Python on both sides, see rnnjob doctor",
    AUTHENTICATION: "export RAY_AUTH_TOKEN_PATH=FILE with the cluster's token, then {resume}",
    CODE_SHIPPING: "check --working-dir and what is installed on the cluster; {logs}",
    WORKER_LOST: "{resume} goes on from the last checkpoint",
}


def _with_cure(facts: Facts, category: str, cause: str, evidence: tuple[str, ...]) -> Answer:
    """The cure that the run's own outcome names is the best one, if it is for this cause."""
    command = facts.command
    general = _CURES.get(category, "{logs}").format(resume=command("resume"), logs=command("logs"))
    own = facts.status.cure
    cure = general if category in _CURES and cause != facts.status.reason else own or general
    return Answer(category, cause, evidence, cure)


def _last_useful(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()][-3:]


def _seen(*lines: str) -> tuple[str, ...]:
    """Lines of evidence: whole ones, no more than a person reads, none twice."""
    cut = (" ".join(line.split())[:_MAX_CHARACTERS] for line in lines)
    return tuple(dict.fromkeys(line for line in cut if line))[:_MAX_EVIDENCE]
