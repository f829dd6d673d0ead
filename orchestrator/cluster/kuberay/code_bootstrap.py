"""Start the driver of a RayJob with the client's code, which a pod takes from the job's storage.

The manifest holds the text of this module and the SHA-256 of the wheel. A wheel with another
SHA-256 is not unpacked, so nothing of it runs. The module needs only pyarrow, since rnnjob is not
there yet. KubeRay passes its text through a shell, so it has no backtick and no dollar sign.
"""

import hashlib
import io
import os
import sys
import tempfile
import zipfile
from typing import NoReturn

import pyarrow as pa
from pyarrow import fs

STORAGE, NAME, SHA256 = "RNNJOB_CODE_STORAGE", "RNNJOB_CODE", "RNNJOB_CODE_SHA256"
"""The environment variables that say where the wheel is, and what it must be."""
CODE_DIR = "RNNJOB_CODE_DIR"
"""Tells the driver which folder holds the code, for its workers."""
_MAX_BYTES = 64 * 2**20
"""Far more than any wheel of rnnjob has. Whoever can write into the storage can write more."""


def main(run_id: str) -> None:
    """Replace this process by the driver's entry, or end it with an error."""
    where = os.environ[STORAGE] + " at " + os.environ[NAME]
    try:
        wheel = read_wheel(os.environ[STORAGE], os.environ[NAME])
    except (OSError, ValueError, pa.ArrowException) as error:
        give_up("the code in " + where + " cannot be read: " + str(error), 1)
    if hashlib.sha256(wheel).hexdigest() != os.environ[SHA256]:
        give_up("the code in " + where + " is not that of the manifest, so it was not run", 2)
    folder = tempfile.mkdtemp(prefix="rnnjob-code-")
    zipfile.ZipFile(io.BytesIO(wheel)).extractall(folder)
    paths = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), CODE_DIR: folder}
    command = [sys.executable, "-m", "orchestrator.driver.kuberay_entry", run_id]
    os.execve(sys.executable, command, environment)


def read_wheel(storage: str, name: str) -> bytes:
    filesystem, root = fs.FileSystem.from_uri(storage)
    with filesystem.open_input_stream(root.rstrip("/") + "/" + name) as stream:
        content: bytes = stream.read(_MAX_BYTES)
        return content


def give_up(cause: str, exit_code: int) -> NoReturn:
    print("Error: " + cause, file=sys.stderr)
    print("Try: rnnjob export --kuberay again, and apply the new manifest", file=sys.stderr)
    sys.exit(exit_code)


if __name__ == "__main__":
    main(sys.argv[1])
