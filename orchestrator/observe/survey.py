"""Look at many runs at once: their clusters are asked side by side, within one deadline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from orchestrator import runs
from orchestrator.cluster.connection import Connection
from orchestrator.cluster.ray_jobs_api import RayJob, list_jobs
from orchestrator.observe.deadline import ask_within
from orchestrator.observe.evidence import command_about, evidence_here
from orchestrator.observe.state import Evidence, decide, no_answer_from
from orchestrator.runs import RunStatus
from workers.errors import ClusterError, InputError, JobError, NoSuchRunError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

DEADLINE_S = 2.0
"""How long all clusters together may take to answer."""


@dataclass(frozen=True)
class Answer:
    """What one cluster said."""

    jobs: dict[str, RayJob]
    refusal: JobError | None = None


def survey(
    storage: Storage,
    records: Sequence[RunStatus],
    connect: Callable[[RunStatus], Connection],
    deadline_s: float = DEADLINE_S,
) -> list[RunStatus]:
    """Return the state of each run, in the order of their records. A run that is deleted meanwhile
    is left out.

    Args:
        connect: returns the way to the cluster of a run; may raise InputError.
        deadline_s: after so many seconds, a cluster counts as one that does not answer.

    Raises StorageError.
    """
    answers = _ask_all([r for r in records if _is_open_on_cluster(r)], connect, deadline_s)
    told = (_decided(RunFolder(storage.child(r.run_id)), r, answers) for r in records)
    return [status for status in told if status]


def _is_open_on_cluster(record: RunStatus) -> bool:
    return record.is_on_cluster and not record.is_terminal


def _ask_all(
    records: Sequence[RunStatus], connect: Callable[[RunStatus], Connection], deadline_s: float
) -> dict[str, Answer]:
    """Return the answer of each cluster, by its address."""

    def question(record: RunStatus) -> Callable[[], Answer]:
        def ask() -> Answer:
            try:
                return Answer(list_jobs(connect(record), deadline_s))
            except (ClusterError, InputError) as error:
                return Answer({}, error)

        return ask

    questions = {record.address: question(record) for record in records}
    answers = ask_within(deadline_s, questions)
    return {address: answers.get(address) or _late(address, deadline_s) for address in questions}


def _late(address: str, deadline_s: float) -> Answer:
    return Answer({}, no_answer_from(address, deadline_s))


def _decided(run: RunFolder, record: RunStatus, answers: dict[str, Answer]) -> RunStatus | None:
    told = decide(record, _evidence(run, record, answers), command_about(run))
    if told.state == record.state:
        return told
    try:
        newer = runs.read_status(run)  # it may have ended, or been resumed, meanwhile
    except NoSuchRunError:
        return None
    if newer == record or newer.job_id != record.job_id or newer.address != record.address:
        return told if newer == record else newer
    return decide(newer, _evidence(run, newer, answers), command_about(run))


def _evidence(run: RunFolder, record: RunStatus, answers: dict[str, Answer]) -> Evidence:
    here = evidence_here(run, record)
    if not _is_open_on_cluster(record):
        return here
    answer = answers[record.address]
    job = answer.jobs.get(record.job_id or record.run_id)
    return replace(here, is_asked=True, refusal=answer.refusal, job=job)
