"""`python -m orchestrator.driver.ray_guard FOLDER CLIENT`: ends a job's Ray if nobody else can.

The client of a job on this machine removes its Ray, and if the client was killed, the driver does.
This process is for the case that both were: some of Ray's processes would try for a minute to reach
those that are gone. CLIENT is the process id of its parent.
"""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from orchestrator.driver import private_ray

_POLL_S = 1.0
_END_S = 10.0


class RayGuard:
    """The guard of a folder, in a process of its own that outlives this one."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", private_ray.GUARD, str(folder), str(os.getpid())],
            cwd=folder,  # Python looks for modules here first, and a user's folder may hold some
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # whatever ends this process and its group
        )

    def end(self) -> None:
        """End the guard, after the folder was removed."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)


def main(folder: Path, client: int) -> None:
    while os.getppid() == client:
        time.sleep(_POLL_S)
    while folder.exists():
        if not private_ray.has_driver(folder):  # one that lives ends by itself
            private_ray.remove(folder)
            return
        time.sleep(_POLL_S)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
