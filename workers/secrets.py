"""Secrets that travel with a job to a cluster.

They form a Python package of their own, which Ray uploads like the code. Therefore no metadata, no
runtime environment that `ray job list` shows, no log and no run folder contains them. Anyone who
may run code on the cluster can read them.
"""

import importlib
import json
import os
from pathlib import Path

PACKAGE = "rnnjob_secrets"
_FILE = "values.json"
HOOK = f"{__name__}.load"
"""What Ray calls in each process of the job before anything of the job runs there. Not only the
workers need the secrets: Ray Train's controller uses the storage, too."""


def write_package(folder: Path, values: dict[str, str]) -> Path:
    """Write the package below `folder` and return its folder. Only its owner can read it."""
    package = folder / PACKAGE
    package.mkdir(mode=0o700)
    (package / "__init__.py").touch()
    file = package / _FILE
    file.touch(mode=0o600)
    file.write_text(json.dumps(values))
    return package


def load() -> None:
    """Set the secrets that came with the job, if any, as environment variables of this process."""
    try:
        package = importlib.import_module(PACKAGE)
    except ModuleNotFoundError:
        return
    assert package.__file__ is not None
    os.environ.update(json.loads((Path(package.__file__).parent / _FILE).read_text()))
