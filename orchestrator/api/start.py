"""Start a checked job in any mode."""

from dataclasses import dataclass

from orchestrator.api.at_exit import finish_at_exit
from orchestrator.client import Client
from orchestrator.launch.launcher import Launcher, launcher_here
from orchestrator.launch.request import Shipping
from orchestrator.launch.submission import Submission
from orchestrator.observe.attendant import Attendant
from orchestrator.runs.progress import Reached
from workers.records.run_folder import RunFolder


@dataclass
class Started:
    """What this process knows of a run that it started."""

    attendant: Attendant | None
    """Keeps the job going; None on a cluster."""
    num_steps: int
    reached: Reached
    """How far the run had come before."""
    notes: list[str]
    """What has to be said about the job; each line is said once."""


def launcher_for(client: Client, mode: str, cluster: str | None, shipping: Shipping) -> Launcher:
    """Return the launcher for a mode of this machine, or for a cluster if one is named."""
    return launcher_here(mode, False) if cluster is None else client.launcher(cluster, shipping)


def start(job: Submission) -> tuple[RunFolder, Started]:
    """Start a job and keep it going. Raises JobError, and then nothing of it is left."""
    run = job.create_run()
    reached = run.with_retries().use_metrics(Reached.of)
    job.launch(run)
    attendant = None
    if not job.launcher.address:
        attendant = Attendant(run, job.launcher)
        finish_at_exit(run, attendant)
    warnings = [f"warning: {text}" for text in job.warnings()]
    notes = [*job.notes(), *warnings, *job.upload_note(), f"run {run.run_id}"]
    return run, Started(attendant, job.num_steps, reached, notes)
