"""Work in parts, started on a Ray of this machine or on a cluster, and followed to its end."""

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator.driver.parts.handover import tell_driver_that_it_was_seen
from orchestrator.driver.parts.request import (
    OUTCOME,
    REQUEST,
    Request,
    hash_of,
    missing_parts,
    to_bytes,
)
from workers.errors import (
    ClusterError,
    InputError,
    JobError,
    JobStoppedError,
    ResourcesError,
    StorageError,
    WorkerFailedError,
)
from workers.records.run_folder import RunFolder
from workers.storage.storage import LARGE_BYTES, Storage

_PROGRAM = "orchestrator.driver.parts"
_END_S = 30.0
"""How long a driver may take to end after it wrote its outcome."""
_ERRORS: dict[int, type[JobError]] = {
    2: InputError,
    3: ClusterError,
    5: JobStoppedError,
    6: ResourcesError,
}


class ProgramLauncher(Protocol):
    """What starts the driver: `RayHereLauncher` or `RayJobsLauncher`."""

    def submit_program(
        self, run: RunFolder, program: tuple[str, ...], pip: tuple[str, ...]
    ) -> None: ...

    def is_alive(self, run: RunFolder) -> bool: ...

    def why_it_ended(self, run: RunFolder) -> str: ...

    def kill(self, run: RunFolder) -> bool: ...


@dataclass(frozen=True)
class Work:
    """A request in the folder in which its parts will be."""

    folder: Storage
    request: Request
    launcher: ProgramLauncher
    num_workers: int

    def begin(self, force: bool = False) -> int:
        """Write the request, or go on with the parts that are there. Return how many are there.

        `force`: begin anew if the folder belongs to other work.

        Raises InputError if it does, and that is not wanted.
        """
        content = to_bytes(self.request)
        try:
            earlier = self.folder.read(REQUEST, LARGE_BYTES)
        except FileNotFoundError:
            earlier = b""
        if earlier and earlier != content and force:
            self.folder.delete()
            earlier = b""
        if not earlier:
            self.folder.create()
            self.folder.write(REQUEST, content)
        elif earlier != content:
            raise InputError(
                f"{self.folder.where()} has parts of other work: the inputs, the run or the code "
                "have changed since",
                "start anew, without those parts: --force",
            )
        return len(self.request.part_rows()) - len(missing_parts(self.folder, self.request))

    def run(self, tell: Callable[[int], None]) -> None:
        """Compute the parts. Whatever goes wrong, no process runs on unattended.

        `tell`: told how many rows are done, now and then.

        Raises JobError.
        """
        run = RunFolder(self.folder, REQUEST)
        # An earlier driver, whose client was killed, may still be about to write its outcome.
        attempt = secrets.token_hex(6)
        sha256 = hash_of(to_bytes(self.request))
        program = (_PROGRAM, self.folder.uri, sha256, str(self.num_workers), attempt)
        try:
            self.launcher.submit_program(run, program, self.request.pip)
            outcome = self._followed(run, attempt, tell)
        except BaseException:
            with contextlib.suppress(JobError):
                self.launcher.kill(run)
            raise
        self._wait_for_end(run)
        if error := outcome.get("error"):
            raise _error(error)

    def _followed(
        self, run: RunFolder, attempt: str, tell: Callable[[int], None]
    ) -> dict[str, Any]:
        rows = self.request.part_rows()
        while True:
            is_alive = self.launcher.is_alive(run)
            outcome = run.read_json(OUTCOME) or {}
            missing = missing_parts(self.folder, self.request)
            tell(sum(rows) - sum(rows[part] for part in missing))
            if outcome.get("attempt") == attempt:
                if "error" not in outcome:
                    tell_driver_that_it_was_seen(self.folder, attempt)
                return outcome
            if not is_alive:
                why = self.launcher.why_it_ended(run) or f"see {run.storage.where(run.LOGS)}"
                raise WorkerFailedError(
                    f"the driver ended without an outcome: {why}",
                    "run the same command again: it goes on with the parts that are missing",
                )
            time.sleep(run.poll_s)

    def _wait_for_end(self, run: RunFolder) -> None:
        end = time.monotonic() + _END_S
        while self.launcher.is_alive(run) and time.monotonic() < end:
            time.sleep(0.1)

    def remove(self) -> None:
        """Remove the folder. A storage that fails leaves it."""
        with contextlib.suppress(StorageError):
            self.folder.delete()


def _error(content: dict[str, Any]) -> JobError:
    kind = _ERRORS.get(content["exit_code"], WorkerFailedError)
    return kind(content["cause"], content["cure"])
