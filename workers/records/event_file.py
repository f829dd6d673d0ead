"""The event file for TensorBoard: the numbers of metrics.jsonl as protocol buffers in TFRecords.

The writer of tensorboardX is not used: a full disk ends its thread, and training would then wait
for that thread forever.
"""

import socket
import struct
import time

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import Summary

from workers.records.run_folder import RunFolder
from workers.storage.growing_file import GrowingFile
from workers.storage.typed_json import Json

_VERSION = "brain.Event:2"


def open_event_file(run: RunFolder, resumed_at: int, attempt: int) -> GrowingFile:
    """Create an event file in the run folder. Raises StorageError.

    It tells TensorBoard to drop the steps after `resumed_at` that earlier files hold.
    """
    content = _framed(Event(wall_time=time.time(), file_version=_VERSION))
    if resumed_at:
        session = SessionLog(status=SessionLog.START)
        content += _framed(Event(wall_time=time.time(), step=resumed_at + 1, session_log=session))
    # The attempt keeps names apart: a run may be resumed within the same second.
    name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{attempt}"
    return GrowingFile(run.storage.child(run.TENSORBOARD), name, content)


def encode_event(record: Json) -> bytes:
    """Return the event of a `step`, `epoch` or `test` record; no bytes for other records."""
    kind = record["kind"]
    if kind not in ("step", "epoch", "test"):
        return b""
    values = [
        Summary.Value(tag=f"{kind}/{name}", simple_value=value)
        for name, value in record.items()
        if isinstance(value, float) and name != "time"
    ]
    wall_time = record.get("time", time.time())
    summary = Summary(value=values)
    return _framed(Event(wall_time=wall_time, step=record.get("step", 0), summary=summary))


def _framed(event: Event) -> bytes:
    """Return an event as one TFRecord."""
    data: bytes = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return b"".join((length, _checksum(length), data, _checksum(data)))


def _checksum(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))
