"""The report of a run."""

from html import escape
from pathlib import Path

from orchestrator.runs import next_command
from workers.errors import InputError
from workers.records.run_folder import RunFolder
from workers.storage.storage import LARGE_BYTES


class Report:
    """A run's report: one HTML page, which a notebook shows if it ends a cell.

    `str(report)` says where the file is.
    """

    html: str
    """The whole page."""
    path: Path | None
    """The file, if it is on a file system of this machine."""

    def __init__(self, run: RunFolder) -> None:
        try:
            self.html = run.storage.read(run.REPORT, LARGE_BYTES).decode(errors="replace")
        except FileNotFoundError as error:
            raise InputError(
                f"{run.run_id} has no report: it has not ended, or could not write one",
                f"wait for its end, or see {next_command(run, 'why')}",
            ) from error
        local = run.storage.local_path
        self.path = Path(local) / run.REPORT if local else None
        self._where = run.storage.where(run.REPORT)

    def __str__(self) -> str:
        return self._where

    def __repr__(self) -> str:
        return f"<Report {self._where}>"

    def _repr_html_(self) -> str:
        # The page is a stranger's, maybe: in a frame without scripts it cannot reach the notebook.
        page = escape(self.html, quote=True)
        return f'<iframe sandbox srcdoc="{page}" style="width: 100%; height: 40em"></iframe>'
