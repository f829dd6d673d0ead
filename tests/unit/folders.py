"""Run folders that hold nothing yet."""

from pathlib import Path

from workers.records.run_folder import RunFolder


def empty_run(folder: Path) -> RunFolder:
    """Return the run folder at a path. Only a folder that exists is written to."""
    folder.mkdir(parents=True, exist_ok=True)
    return RunFolder.at(str(folder))
