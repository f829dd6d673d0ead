"""Ray's command line in this Python environment: the command, its PATH, its temporary folder and
its output."""

import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

COMMAND = (sys.executable, "-m", "ray.scripts.scripts")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f]")
_SAYS_NOTHING = re.compile(r"[\W_]*|Aborted!?")
_CHAINED = re.compile("During handling of the above exception|The above exception was the direct")
_MOST_CHARACTERS = 300
_MAX_TEMP_DIR_BYTES = 10
"""The kernel takes 107 bytes for the path of a socket, and Ray's longest below the folder has 93:
/rnnjob-c-XXXXXXXX/n10/session_<date>_<time>_<microseconds>_<7 digits>/sockets/dash_UsageStatsHead.
Four bytes are spare."""


def short_temp_dir() -> str:
    """Return the folder below which a Ray on this machine keeps its files.

    It is the system's temporary folder (TMPDIR) if its path is short, else /tmp. Ray puts sockets
    below it, and the kernel limits the path of a socket to 107 bytes.
    """
    # Resolved, as the working directories are by which the processes of a Ray are recognised.
    folder = os.path.realpath(tempfile.gettempdir())
    return folder if len(os.fsencode(folder)) <= _MAX_TEMP_DIR_BYTES else "/tmp"


def path_with_this_python(path: str) -> str:
    """Return PATH with this interpreter's folder first.

    A job runs the `python` that its raylet finds in PATH.
    """
    folder = str(Path(sys.executable).parent)
    return f"{folder}:{path}" if path else folder


def last_useful_line(output: str) -> str:
    """Return the last line of a failed Ray command's output that says something.

    Colours are removed, and a long line is cut. Empty if no line says anything.
    """
    for line in reversed(_CONTROL.sub("", output).splitlines()):
        if not _SAYS_NOTHING.fullmatch(line.strip()):
            return line.strip()[:_MOST_CHARACTERS]
    return ""


def without_tracebacks(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines, but of each traceback only its last line, which names the error."""
    in_traceback = False
    for line in lines:
        if line.startswith("Traceback (most recent call last)"):
            in_traceback = True
        in_traceback = in_traceback and (
            line[:1].isspace() or not line or line.startswith("Traceback")
        )
        if not in_traceback and not _CHAINED.match(line):
            yield line
