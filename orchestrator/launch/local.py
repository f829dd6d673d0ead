"""`--local`: the job in a thread of this process, without Ray."""

import threading
from typing import TYPE_CHECKING, Any, ClassVar

from orchestrator import runs
from orchestrator.driver.execute import Start, execute
from orchestrator.driver.local_trainer import LocalTrainer, check_gpu
from workers.errors import InputError
from workers.records.run_folder import RunFolder

if TYPE_CHECKING:
    from orchestrator.spec.job_spec import JobSpec


class LocalLauncher:
    """Runs the job beside the thread that follows it, which stays free to handle Ctrl-C."""

    mode = runs.LOCAL
    address = ""
    leaves_on_interrupt = False
    _last: ClassVar[tuple[str, threading.Thread] | None] = None
    """The id and the thread of the run that this process began last."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def check(self, run: RunFolder, spec: "JobSpec", job_id: str) -> dict[str, Any]:
        """Raises InputError while another run trains here: some of torch's settings, which decide
        bits, hold for a whole process."""
        if self._last and self._last[1].is_alive():
            raise InputError(
                f"{self._last[0]} is trained in this process already",
                "wait until it has ended, or use workers: they have processes of their own",
            )
        check_gpu(spec)
        return {}

    def submit(self, run: RunFolder) -> None:
        start = Start(runs.read_status(run.with_retries()).job_id)
        # A daemon thread, so that a second Ctrl-C does not wait for it.
        self._thread = threading.Thread(
            target=execute, args=(run, LocalTrainer(), start), name="job", daemon=True
        )
        self._thread.start()
        LocalLauncher._last = run.run_id, self._thread

    def is_alive(self, run: RunFolder) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def why_it_ended(self, run: RunFolder) -> str:
        return ""  # the job printed to this process's own stderr

    def kill(self, run: RunFolder) -> bool:
        """Do nothing: a thread cannot be ended, and dies with the process."""
        return True
