"""Say in one line where the code of a user's own model raised an error."""

import re
import traceback
from pathlib import Path

FOLDER_PREFIX = "rnnjob-model-"
"""How the names of the temporary folders begin from which such code is imported."""
_IN_FOLDER = re.compile(rf".*[/\\]{FOLDER_PREFIX}[^/\\]+[/\\](.+)", re.DOTALL)
_MAX_TEXT = 300


def line_of(error: BaseException) -> str:
    """Return the innermost line of the model's code at which an error was raised, as FILE:LINE.

    Empty if the error came from elsewhere.
    """
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        places.append((error.filename, error.lineno))
    for file, line in reversed(places):
        if match := _IN_FOLDER.fullmatch(file):
            return f"{Path(match[1]).as_posix()}:{line}"
    return ""


def described(error: BaseException) -> str:
    """Return the place, the type and the text of an error in one line."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    text = " ".join(text.split())[:_MAX_TEXT]
    parts = [line_of(error), type(error).__name__, text]
    return ": ".join(part for part in parts if part)
