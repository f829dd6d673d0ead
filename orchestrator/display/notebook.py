"""The display of a running job in a notebook: one output that is drawn again as the job goes on.

IPython is used if this process is its kernel, and is never imported otherwise.
"""

import importlib
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from types import TracebackType
from typing import Any, Protocol

from orchestrator.display.text import printable
from orchestrator.runs import RunStatus
from orchestrator.runs.progress import JobProgress, Reached
from workers.storage.typed_json import Json

_SHOWN_LINES = 12
_REDRAW_S = 0.5


class Output(Protocol):
    """An output of a notebook's cell that can be drawn again."""

    def update(self, content: Any) -> Any: ...


@dataclass(frozen=True)
class Page:
    """What a notebook shows: HTML, or the text where it shows none."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def notebook_output() -> Callable[[Any], Output] | None:
    """Return what opens an output in the notebook whose kernel this process is; else None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython and hasattr(ipython, "get_ipython") else None
    if getattr(shell, "kernel", None) is None:  # also IPython on a terminal has none
        return None
    display = importlib.import_module("IPython.display").display
    return lambda content: display(content, display_id=True)


class NotebookView:
    """A display of a job's records as they arrive, in one output of a notebook."""

    def __init__(
        self,
        open_output: Callable[[Any], Output],
        num_steps: int | None,
        print_every_steps: int = 0,
    ) -> None:
        self._job = JobProgress(num_steps, print_every_steps)
        self._lines: deque[str] = deque(maxlen=_SHOWN_LINES)
        self._open_output = open_output
        self._output: Output | None = None
        self._drawn_at = 0.0

    def __enter__(self) -> "NotebookView":
        self._draw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._draw()

    def begin_after(self, reached: Reached) -> None:
        self._job.begin_after(reached)

    def note(self, text: str) -> None:
        self._lines.append(text)
        self._draw()

    def update(self, status: RunStatus, records: list[Json]) -> None:
        self._lines.extend(self._job.take_up(status, records))
        if time.monotonic() - self._drawn_at > _REDRAW_S:
            self._draw()

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        if self._output is None:
            self._output = self._open_output(self._page())
        else:
            self._output.update(self._page())

    def _page(self) -> Page:
        job = self._job
        steps = f"step {job.step:,}" + (f" of {job.num_steps:,}" if job.num_steps else "")
        head = "  ".join(filter(None, (job.state, steps, job.now)))
        bar = (
            f'<progress value="{job.step}" max="{job.num_steps}" style="width: 20em"></progress> '
            if job.num_steps
            else ""
        )
        lines = "\n".join(self._lines)
        html = f"<div>{bar}{escape(head)}</div><pre>{escape(printable(lines))}</pre>"
        return Page(html, printable(f"{head}\n{lines}".rstrip()))


def as_table(rows: list[tuple[str, str]]) -> str:
    """Return an HTML table of names and values, which may be anybody's text."""
    cells = (
        f'<tr><th style="text-align: left">{escape(name)}</th>'
        f'<td style="text-align: left">{escape(printable(value))}</td></tr>'
        for name, value in rows
    )
    return f"<table>{''.join(cells)}</table>"
