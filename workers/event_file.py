"""TensorBoard's event file: what metrics.jsonl holds, as protocol buffers framed as TFRecords.

Not tensorboardX's own writer: its thread dies of a full disk, and training then waits for it for
ever.
"""

import socket
import struct
import time

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import Summary

from workers.growing_file import GrowingFile
from workers.jsons import Json
from workers.run_folder import RunFolder

_VERSION = "brain.Event:2"


def open_event_file(run: RunFolder, resumed_at: int, attempt: int) -> GrowingFile:
    """A new file in the run's folder; TensorBoard forgets what others hold of later steps."""
    content = _framed(Event(wall_time=time.time(), file_version=_VERSION))
    if resumed_at:
        begun = SessionLog(status=SessionLog.START)
        content += _framed(Event(wall_time=time.time(), step=resumed_at + 1, session_log=begun))
    # A file is named by the second it was made in: a quick resume would replace it.
    name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{attempt}"
    return GrowingFile(run.storage.child(run.TENSORBOARD), name, content)


def event_of(record: Json) -> bytes:
    """The numbers of a step, an epoch or the test; empty for other records."""
    kind = record["kind"]
    if kind not in ("step", "epoch", "test"):
        return b""
    values = [
        Summary.Value(tag=f"{kind}/{name}", simple_value=value)
        for name, value in record.items()
        if isinstance(value, float) and name != "time"
    ]
    at = record.get("time", time.time())
    summary = Summary(value=values)
    return _framed(Event(wall_time=at, step=record.get("step", 0), summary=summary))


def _framed(event: Event) -> bytes:
    data: bytes = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return b"".join((length, _checksum(length), data, _checksum(data)))


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))
