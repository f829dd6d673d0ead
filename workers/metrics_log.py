"""metrics.jsonl and TensorBoard: one record per start, step and epoch, written by worker 0.

Records have a `kind`:

- `start`  at each (re)start: attempt, step, workers, unix time
- `step`   after each step: epoch, step, loss, accuracy, rows, lr, gradient_norm
- `epoch`  after each epoch: see `workers.train`
- `test`   the final model on the test split
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from workers.jsons import Json
from workers.run_folder import RunFolder

_FLUSH_S = 0.5
_FLUSH_REMOTE_S = 10.0  # no appending there: each flush writes the whole file


RecordSink = Callable[[Json], None]
"""Who wants to see records as they come."""


class MetricsLog:
    """Keeps every step once: on a resume, what came after the checkpoint is dropped first."""

    def __init__(self, run: RunFolder, resumed_at: int, sink: RecordSink | None = None) -> None:
        self._run, self._sink = run, sink
        earlier = [
            record
            for record in run.read_metrics()
            if record.get("kind") == "start"
            or (record.get("kind") != "test" and record.get("step", 0) <= resumed_at)
        ]
        self.attempt = 1 + sum(record.get("kind") == "start" for record in earlier)
        self._lines = [_line(record) for record in earlier]
        run.storage.write(run.METRICS, "".join(self._lines).encode())
        local = run.storage.local_path
        # Open for as long as the job runs; closed in __exit__.
        self._file = open(local / run.METRICS, "a", encoding="utf-8") if local else None  # noqa: SIM115
        self._flush_s = _FLUSH_S if local else _FLUSH_REMOTE_S
        self._flushed = time.monotonic()
        self._board = _Board(run, resumed_at, self.attempt)

    def write(self, record: Json) -> None:
        self._keep(_line(record))
        self._board.write(record)
        due = time.monotonic() - self._flushed > self._flush_s
        if due or record["kind"] != "step":
            self.flush()
        if self._sink:
            self._sink(record)

    def flush(self) -> None:
        if self._file:
            self._file.flush()
        else:
            self._run.storage.write(self._run.METRICS, "".join(self._lines).encode())
        self._flushed = time.monotonic()

    def _keep(self, line: str) -> None:
        if self._file:
            self._file.write(line)
        else:
            self._lines.append(line)

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.flush()
        if self._file:
            self._file.close()
        self._board.close()


def _line(record: Json) -> str:
    return json.dumps(record) + "\n"


class _Board:
    """TensorBoard event files; written locally, uploaded at the end where storage is remote."""

    def __init__(self, run: RunFolder, resumed_at: int, attempt: int) -> None:
        from tensorboardX import SummaryWriter

        self._run = run
        local = run.storage.local_path
        self._scratch = None if local else tempfile.TemporaryDirectory(prefix="rnnjob-")
        folder = local / run.TENSORBOARD if local else Path(self._scratch.name)  # type: ignore[union-attr]
        self._folder = folder
        self._writer = SummaryWriter(
            str(folder),
            purge_step=resumed_at + 1 if resumed_at else None,
            # A file is named by the second it was made in: a quick resume would replace it.
            filename_suffix=f".{attempt}",
        )

    def write(self, record: Json) -> None:
        kind, step = record["kind"], record.get("step", 0)
        if kind not in ("step", "epoch", "test"):
            return
        for name, value in record.items():
            if isinstance(value, float) and name != "time":
                self._writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        self._writer.close()
        if self._scratch:
            self._run.storage.upload(self._folder, self._run.TENSORBOARD)
            self._scratch.cleanup()
