"""The platform of the client, compared with that of the node on which its job's driver runs.

A client learns of a cluster without running anything there which Ray, which Python and perhaps
which operating system it has. The rest travels with the job, and the driver compares it first of
all. Imports nothing but the standard library: other packages come from the client, and may be for
another platform.
"""

import json
import os
import platform
import sys
from importlib import metadata

from workers.errors import ClusterError

_CLIENT = "RNNJOB_CLIENT_PLATFORM"
_ALLOW = "--set limits.mixed_hardware=allow"


def tell_driver() -> dict[str, str]:
    """Return the environment variable that tells the driver of a job what this client is."""
    return {_CLIENT: json.dumps(_this_platform())}


def check_client_platform(must_be_equal: bool) -> None:
    """Raise ClusterError, with both values, if the client that sent the job is on another platform.

    `must_be_equal`: whether the release of torch counts, which decides bits.
    """
    theirs, ours = json.loads(os.environ.get(_CLIENT, "{}")), _this_platform()
    for name, value in theirs.items():
        if value == ours.get(name) or (name == "torch" and not (value and must_be_equal)):
            continue
        allow = f", or accept other bits than the client's: {_ALLOW}" if name == "torch" else ""
        raise ClusterError(
            f"this node of the cluster has {name} {ours.get(name)}, and the client that sent the "
            f"job has {value}",
            f"use a client, or nodes, with the same {name}{allow}",
        )


def _this_platform() -> dict[str, str]:
    return {
        "operating system": sys.platform,
        "processor architecture": platform.machine(),
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "Ray": _version("ray"),
        "torch": _version("torch"),
    }


def _version(package: str) -> str:
    """Return a release without the name of its build, such as `+cpu`; empty if there is none."""
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError:
        return ""
