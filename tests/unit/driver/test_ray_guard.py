"""What a killed client and its killed driver leave behind is gone within seconds."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from orchestrator.cluster.local_processes import is_alive
from tests.conftest import ENOUGH_S, wait_for

pytestmark = pytest.mark.slow

CLIENT = """
import os, subprocess, sys
from orchestrator.driver import private_ray
from orchestrator.driver.ray_guard import RayGuard
folder = private_ray.create_folder()
guard = RayGuard(folder)
nothing = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
left = subprocess.Popen(
    [sys.executable, "-c", sys.argv[1], *sys.argv[2:]],
    env={**os.environ, "RNNJOB_RAY_DIR": str(folder)}, start_new_session=True, **nothing,
)
print(folder, guard._process.pid, left.pid, flush=True)
sys.stdin.readline()
private_ray.remove(folder)
guard.end()
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


class Client:
    """A client that waits for a line, and ends well then."""

    def __init__(self, temp_root: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, *words],
            env={**os.environ, "TMPDIR": str(temp_root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        folder, guard, left = self.process.stdout.readline().split()
        self.folder, self.guard = Path(folder), psutil.Process(int(guard))
        self.left = psutil.Process(int(left))

    def wait_for_guard(self) -> None:
        """Wait until the guard does nothing but look at its parent."""
        wait_for(lambda: "psutil" in " ".join(map(str, self._opened())))
        time.sleep(1)

    def _opened(self) -> list[str]:
        return [mapped.path for mapped in self.guard.memory_maps()]


@pytest.mark.usefixtures("no_process_left")
def test_a_client_that_is_killed_while_it_removes_its_ray_leaves_the_guard(temp_root: Path) -> None:
    client = Client(temp_root, DEAF)
    assert client.process.stdin
    client.process.stdin.write("\n")
    client.process.stdin.flush()
    time.sleep(1)  # it has five seconds to end the process that does not listen
    client.process.kill()
    client.process.wait()
    wait_for(lambda: not is_alive(client.left) and not client.folder.exists())
    wait_for(lambda: not is_alive(client.guard))


@pytest.mark.usefixtures("no_process_left")
def test_what_ignores_its_end_is_ended_and_the_folder_removed(temp_root: Path) -> None:
    client = Client(temp_root, DEAF)
    client.process.kill()
    client.process.wait()
    wait_for(lambda: not is_alive(client.left) and not client.folder.exists())
    wait_for(lambda: not is_alive(client.guard))


@pytest.mark.usefixtures("no_process_left")
def test_a_driver_that_lives_ends_by_itself(temp_root: Path) -> None:
    client = Client(temp_root, DEAF, "orchestrator.driver")
    client.wait_for_guard()
    client.process.kill()
    client.process.wait()
    with pytest.raises(AssertionError, match="waited in vain"):
        wait_for(lambda: not is_alive(client.left), timeout=3)
    assert client.folder.exists() and is_alive(client.guard)
    client.left.kill()  # a driver that is killed, too, removes nothing
    wait_for(lambda: not client.folder.exists() and not is_alive(client.guard))


@pytest.mark.usefixtures("no_process_left")
def test_a_guard_ends_with_a_client_that_ends_well(temp_root: Path) -> None:
    client = Client(temp_root, DEAF)
    client.process.communicate("\n", timeout=ENOUGH_S)
    assert client.process.returncode == 0
    assert not client.folder.exists() and not is_alive(client.guard)
