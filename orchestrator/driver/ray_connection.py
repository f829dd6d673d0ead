"""The connection of a driver to Ray: one of its own on this machine, or the cluster it runs on."""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from workers.errors import ClusterError


def connect_to_ray(
    private_dir: str | None,
    num_cpus: int,
    runtime_env: dict[str, Any] | None = None,
    preload: str = "",
) -> None:
    """Start a Ray on this machine, or join the cluster that this process runs on.

    Args:
        private_dir: the folder for the files of a Ray of its own; None joins the cluster.
        num_cpus: the logical CPUs of a Ray of its own.
        runtime_env: what a cluster's workers get from this process.
        preload: a module that processes of a Ray of its own import before they are needed; as many
            as there are logical CPUs start with Ray for that.

    Raises ClusterError.
    """
    import ray

    quiet: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": "ERROR",
        "logging_config": ray.LoggingConfig(log_level="ERROR"),
    }
    with keep_logging_and_signals(), _explained(is_own=private_dir is not None):
        if private_dir is None:
            ray.init(address="auto", runtime_env=runtime_env, **quiet)
            return
        if preload:  # Ray's processes inherit this, and start with Ray, one for each logical CPU
            os.environ.update(RAY_enable_worker_prestart="1", RAY_preload_python_modules=preload)
        with _fewest_processes():
            ray.init(
                address="local",
                num_cpus=num_cpus,
                include_dashboard=False,
                # Ray opens this folder to all users. The one above it stays private.
                _temp_dir=f"{private_dir}/ray",
                **quiet,
            )


@contextlib.contextmanager
def _fewest_processes() -> Iterator[None]:
    """Have ray.init leave out what a Ray of a single job has no use for.

    That is a dashboard, which Ray starts in part even if there is to be none, the autoscaler's
    monitor, and what copies the logs of processes to the driver. Each is a process of its own, and
    Ray waits for the dashboard before it starts the rest.
    """
    from ray._private import node

    class Node(node.Node):  # type: ignore[misc]  # Ray is not typed
        def start_api_server(self, **_: Any) -> None:
            """Override."""

        def start_monitor(self) -> None:
            """Override."""

        def start_log_monitor(self) -> None:
            """Override."""

    usual, node.Node = node.Node, Node
    try:
        yield
    finally:
        node.Node = usual


@contextlib.contextmanager
def _explained(is_own: bool) -> Iterator[None]:
    """Turn what Ray raises if it does not start, or does not answer, into ClusterError.

    On a machine with too much to do, parts of Ray wait for each other in vain.
    """
    try:
        yield
    except Exception as error:  # Ray raises this very class, too
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        what = "Ray did not start" if is_own else "the cluster does not take this driver"
        cure = "try it again once this machine has less to do, or with fewer --workers"
        raise ClusterError(
            f"{what}: {lines[0][:300] if lines else type(error).__name__}",
            cure if is_own else "see rnnjob doctor --address URL, and try it again",
        ) from error


@contextlib.contextmanager
def keep_logging_and_signals() -> Iterator[None]:
    """Restore this process's log handlers and its handler of SIGTERM after ray.init.

    Ray's logging_config is for its workers but takes over the root logger of this process, too: the
    driver's own log would end here. Ray's handler of SIGTERM would end the process without a
    checkpoint.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    is_main_thread = threading.current_thread() is threading.main_thread()
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        if is_main_thread:
            signal.signal(signal.SIGTERM, on_sigterm)
