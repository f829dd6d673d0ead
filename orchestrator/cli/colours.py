"""Whether output has colours; on its own, so that `rnnjob --help` loads no more than this."""

import os


def colours() -> bool | None:
    """False where NO_COLOR asks for none; None: where the stream is a terminal."""
    return False if os.environ.get("NO_COLOR") else None
