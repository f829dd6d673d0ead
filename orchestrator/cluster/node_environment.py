"""The environment of a local cluster's node, which every job on the node inherits."""

import os
import re
from pathlib import Path

from orchestrator.cluster import local_processes, loopback, ray_command

_CREDENTIAL = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|COOKIE|HEADER)S?(_|$)"
    r"|(^|_|API)KEYS?(_|$)"  # AWS_ACCESS_KEY_ID, WANDB_API_KEY, but not MONKEY
    r"|(^|_)AUTH(_|$)",  # SSH_AUTH_SOCK
    re.IGNORECASE,
)
"""Names of environment variables that hold credentials. Nodes do not inherit them: whoever starts
a cluster does not mean to send them to each job that ever runs on it. A job gets those that it
needs with --secret."""
TMP = "tmp"
"""The folder in a node's folder for temporary files."""
_OF_ANOTHER_CLUSTER = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")
_DEFAULTS = {
    # Ray then notices a dead node in seconds, not in half a minute.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    # The older autoscaler counts nodes by their IP address, which these nodes share.
    "RAY_enable_autoscaler_v2": "1",
}


def node_environment(folder: Path, token_path: Path) -> dict[str, str]:
    """Return this process's environment without credentials, and with the variables that a node
    and its jobs need."""
    return {
        **_DEFAULTS,
        **{name: value for name, value in os.environ.items() if _is_inherited(name)},
        **loopback.ENVIRONMENT,
        "PATH": ray_command.path_with_this_python(os.environ.get("PATH", "")),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        "TMPDIR": str(folder / TMP),  # Ray puts sockets there, so each node needs its own
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # with it, Ray would hang under `uv run`
        local_processes.MARK: str(folder),
    }


def _is_inherited(name: str) -> bool:
    return name not in _OF_ANOTHER_CLUSTER and not _CREDENTIAL.search(name)
