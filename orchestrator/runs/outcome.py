"""Write the outcome of a run: the result, the report and the final status."""

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator import runs
from orchestrator.runs import RunStatus
from orchestrator.runs.report.html import write_report
from orchestrator.runs.result import build_result
from workers.config import TrainJob
from workers.errors import StorageError
from workers.records.run_folder import RunFolder

if TYPE_CHECKING:
    from workers.records.train_result import TrainResult


def write_outcome(
    run: RunFolder,
    job: TrainJob | None,
    result: "TrainResult | None",
    status: RunStatus,
    started: float,
) -> RunStatus:
    """Write result.json and report.html, then status.json, and return the status as written.

    The status is written last, so whoever reads a terminal status also finds the result. If the
    result of a run that SUCCEEDED cannot be written, the run has FAILED.

    Args:
        run: the run that has ended.
        job: the job that was trained; None if the run ended before it was planned.
        result: what the training returned; None if it raised an error or its process died.
        status: the terminal status to write.
        started: Unix time at which this execution began.

    Raises StorageError if not even the status can be written.
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
