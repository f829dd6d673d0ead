"""Ray's own command line, as a subprocess of this environment."""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

COMMAND = (sys.executable, "-m", "ray.scripts.scripts")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f]")
_SAYS_NOTHING = re.compile(r"[\W_]*|Aborted!?")
_CHAINED = re.compile("During handling of the above exception|The above exception was the direct")
_MOST_CHARACTERS = 300


def path_with_this_python(path: str) -> str:
    """PATH with this interpreter's folder first: the `python` of a job is the one that the raylet
    finds there."""
    here = str(Path(sys.executable).parent)
    return f"{here}:{path}" if path else here


def last_useful_line(output: str) -> str:
    """What a failed command of Ray said last, without colours; empty where it said nothing."""
    for line in reversed(_CONTROL.sub("", output).splitlines()):
        if not _SAYS_NOTHING.fullmatch(line.strip()):
            return line.strip()[:_MOST_CHARACTERS]
    return ""


def without_tracebacks(lines: Iterable[str]) -> Iterator[str]:
    """Lines as they come, of a traceback only what it ends with."""
    inside = False
    for line in lines:
        if line.startswith("Traceback (most recent call last)"):
            inside = True
        inside = inside and (line[:1].isspace() or not line or line.startswith("Traceback"))
        if not inside and not _CHAINED.match(line):
            yield line
