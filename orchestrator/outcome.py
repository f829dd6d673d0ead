"""Writes the outcome of a run: result, report, and last of all the status."""

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator import runs
from orchestrator.report.html import write_report
from orchestrator.result import build_result
from orchestrator.runs import RunStatus
from workers.config import TrainJob
from workers.errors import StorageError
from workers.run_folder import RunFolder

if TYPE_CHECKING:
    from workers.train import TrainResult


def write_outcome(
    run: RunFolder,
    job: TrainJob | None,
    result: "TrainResult | None",
    status: RunStatus,
    started: float,
) -> RunStatus:
    """Who sees a terminal status finds the result beside it; a run whose result cannot be written
    has FAILED, whatever it was before.

    Args:
        started: Unix time at which this execution began.

    Returns the status as written. Raises StorageError where not even that is possible.
    """
    try:
        content = build_result(run, job, result, status, started)
        run.write_json(run.RESULT, content)
        write_report(run, content)
    except StorageError as error:
        if status.state == runs.SUCCEEDED:
            status = replace(
                status,
                state=runs.FAILED,
                exit_code=error.exit_code,
                reason=error.cause,
                cure=error.cure,
            )
    return runs.write_status(run, status)
