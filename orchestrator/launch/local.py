"""`--local`: the job in a thread of this process, without Ray."""

import threading
from typing import TYPE_CHECKING, Any

from orchestrator import runs
from orchestrator.driver.execute import execute
from orchestrator.driver.local_trainer import LocalTrainer, check_gpu
from workers.records.run_folder import RunFolder

if TYPE_CHECKING:
    from orchestrator.spec.job_spec import JobSpec


class LocalLauncher:
    """Runs the job beside the thread that follows it, which stays free to handle Ctrl-C."""

    mode = runs.LOCAL
    address = ""
    leaves_on_interrupt = False

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def check(self, run: RunFolder, spec: "JobSpec", job_id: str) -> dict[str, Any]:
        check_gpu(spec)
        return {}

    def submit(self, run: RunFolder) -> None:
        # A daemon thread, so that a second Ctrl-C does not wait for it.
        self._thread = threading.Thread(
            target=execute, args=(run, LocalTrainer()), name="job", daemon=True
        )
        self._thread.start()

    def is_alive(self, run: RunFolder) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def why_it_ended(self, run: RunFolder) -> str:
        return ""  # the job printed to this process's own stderr

    def kill(self, run: RunFolder) -> bool:
        """Do nothing: a thread cannot be ended, and dies with the process."""
        return True
