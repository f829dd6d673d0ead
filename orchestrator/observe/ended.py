"""The result of a run that has ended with metrics: what there is something to tell of."""

from orchestrator import runs
from orchestrator.observe.evidence import state_here
from orchestrator.runs.result import read_result
from workers.errors import InputError
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json


def ended_result(run: RunFolder, what: str) -> Json:
    """Return the result of a run. Raises InputError if it goes on, or has no metrics.

    `what`: what is done with it when it has ended, such as `its report is made`.
    """
    status, result = state_here(run), read_result(run)
    if status.state not in runs.TERMINAL:
        raise InputError(
            f"{run.run_id} is {status.state}: {what} when it has ended",
            f"wait for its end: {runs.next_command(run, 'wait')}",
        )
    if result is None or not result.get("steps"):
        raise InputError(
            f"{run.run_id} is {status.state} and has no metrics",
            f"see why: {runs.next_command(run, 'why')}",
        )
    return result
