"""The command `rnnjob track`."""

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.cluster import RequestFlags
from orchestrator.cli.options.completion_values import run_ids
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import (
    json_option,
    storage_option,
    trust_code_option,
)
from orchestrator.cli.output import echo, print_json

if TYPE_CHECKING:
    from orchestrator.tracking.sender import Sent
    from workers.records.run_folder import RunFolder


@click.command(
    "track",
    epilog=example(
        "rnnjob track @last                                  what its tracker has not got",
        "rnnjob track lstm gru --mlflow http://127.0.0.1:5000  repeats, to a server of your own",
    ),
)
@click.argument("names", metavar="RUN...", nargs=-1, required=True, shell_complete=run_ids)
@storage_option
@click.option(
    "--mlflow",
    metavar="URI",
    help="The MLflow server.  [default: tracking.mlflow of the run's spec]",
)
@trust_code_option
@json_option
@explained
def track_command(
    names: tuple[str, ...],
    storage: str | None,
    mlflow: str | None,
    trust_code: bool,
    as_json: bool,
) -> None:
    """Send runs to an MLflow server: their metrics, spec, result, report, and the bundle of their
    model.

    RUN: an id, a unique prefix, @last, or what the ids of repeats begin with.

    What the server has is not sent again, so this also sends the rest after a server was down while
    the job ran. Credentials come from the environment, as MLflow reads them: MLFLOW_TRACKING_TOKEN,
    or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
    """
    from orchestrator.runs.repeats import find_runs
    from orchestrator.spec.plan import read_spec
    from orchestrator.tracking.named import tracker_for
    from orchestrator.trained.track import track

    client = RequestFlags().client(storage, None)
    folders = [run for name in names for run in find_runs(client.storage, name)]
    targets = [(run, tracker_for(read_spec(run), run.run_id, mlflow)) for run in folders]
    documents: list[dict[str, Any]] = []
    for run, where in targets:
        sent = track(run, client.status(run.run_id), where, trust_code)
        documents.append(_document(run, sent))
        if not as_json:
            echo(_line(run, sent))
    if as_json:
        print_json({"schema_version": 1, "runs": documents})


def _document(run: "RunFolder", sent: "Sent") -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "page": sent.page,
        "records": sent.num_records,
        "files": sent.files,
    }


def _line(run: "RunFolder", sent: "Sent") -> str:
    what = [f"{sent.num_records:,} records"] if sent.num_records else []
    news = ", ".join([*what, *sent.files])
    return f"{run.run_id}: {f'sent {news}' if news else 'nothing was missing'}; {sent.page}"
