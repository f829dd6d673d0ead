"""What a stranger put into a folder is read with a limit, and never outside of that folder."""

import os
import socket
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from workers.errors import RefusedFileError, StorageError
from workers.storage import retries
from workers.storage.lines import MAX_LINE_BYTES, Line
from workers.storage.retries import Retries
from workers.storage.storage import SMALL_BYTES, Storage
from workers.storage.typed_json import parse_object


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A confined folder, beside which lies what must not be touched."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "secret").write_bytes(b"secret")
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def storage(folder: Path) -> Storage:
    return Storage(str(folder)).confined()


def sparse(path: Path, size: int) -> None:
    with open(path, "wb") as file:
        file.truncate(size)


def make_socket(path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    before = Path.cwd()
    os.chdir(path.parent)  # the path of a socket may have some 100 characters only
    listener.bind(path.name)
    os.chdir(before)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a named pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a socket": make_socket,
    "a symbolic link": lambda path: path.symlink_to(path),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_refused_at_once(folder: Path, storage: Storage, kind: str) -> None:
    NO_FILES[kind](folder / "a")
    with pytest.raises(RefusedFileError, match=f"a is {kind}, not a file"):
        storage.read("a")
    with pytest.raises(RefusedFileError, match=f"a is {kind}, not a file"):
        storage.read_lines("a", list)
    with pytest.raises(RefusedFileError, match=f"a is {kind}, not a file"):
        storage.open_to_append("a")


def test_a_device_is_refused(folder: Path) -> None:
    with pytest.raises(RefusedFileError, match="zero is a device, not a file"):
        Storage("/dev").read("zero")


@pytest.mark.parametrize("size", [SMALL_BYTES + 1, 3 * 2**30, 2**43])
def test_a_file_that_is_too_large_takes_no_memory(
    folder: Path, storage: Storage, size: int
) -> None:
    sparse(folder / "a", size)
    tracemalloc.start()
    try:
        with pytest.raises(RefusedFileError, match=rf"/a has {size:,} bytes, and no more than"):
            storage.read("a")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_limit_is_the_largest_size_that_is_read(folder: Path, storage: Storage) -> None:
    (folder / "a").write_bytes(b"x" * 10)
    assert storage.read("a", 10) == b"x" * 10
    with pytest.raises(RefusedFileError):
        storage.read("a", 9)


# --- links ---


def outside(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder.parent / "mine").iterdir()}


def test_nothing_is_read_or_written_through_a_link_that_leads_out(
    folder: Path, storage: Storage
) -> None:
    (folder / "out").symlink_to("../mine")
    (folder / "file").symlink_to(folder.parent / "mine" / "secret")
    (folder / "two").symlink_to("out")
    before = outside(folder)
    refused: list[Callable[[], object]] = [
        lambda: storage.read("file"),
        lambda: storage.read("out/secret"),
        lambda: storage.child("two").read("secret"),
        lambda: storage.open_to_append("file"),
        lambda: storage.child("out").open_to_append("new"),
        lambda: storage.write("out/new", b"x"),
        lambda: storage.write("two/secret", b"x"),
        lambda: storage.child("out").child("deep").write("new", b"x"),
        lambda: storage.child("out").child("deep").create(),
        lambda: storage.child("out").list(),
        lambda: storage.child("out").filesystem_and_path,
        lambda: storage.exists("out/secret"),
        lambda: storage.delete_file("out/secret"),
        lambda: storage.delete("two/secret"),
    ]
    for operation in refused:
        with pytest.raises(RefusedFileError, match=r"leads out of .*run, through a symbolic link"):
            operation()
    assert outside(folder) == before


def test_a_link_is_replaced_or_deleted_and_not_followed(folder: Path, storage: Storage) -> None:
    before = outside(folder)
    for name, target in (("file", "secret"), ("other", "secret"), ("out", ".")):
        (folder / name).symlink_to(folder.parent / "mine" / target)
    storage.write("file", b"new")
    assert storage.read("file") == b"new"
    storage.delete_file("other")
    assert storage.usage() == (1, 3)
    storage.delete("out")
    assert storage.list() == ["file"]
    (folder / "sub").mkdir()
    (folder / "sub" / "out").symlink_to(folder.parent / "mine")
    storage.delete()
    assert not folder.exists()
    assert outside(folder) == before


def test_links_within_the_folder_and_links_to_the_folder_are_followed(
    folder: Path, storage: Storage
) -> None:
    (folder / "logs-2").mkdir()
    (folder / "logs").symlink_to("logs-2")
    storage.child("logs").write("a", b"1")
    assert storage.read("logs-2/a") == b"1"
    (folder.parent / "runs").symlink_to(folder.parent)
    linked = Storage(str(folder.parent / "runs")).child("run").confined()
    linked.write("b", b"2")
    assert linked.child("logs").read("a") == b"1" and storage.read("b") == b"2"
    (folder.parent / "elsewhere").symlink_to(folder)
    moved = Storage(str(folder.parent / "elsewhere")).confined()
    assert moved.list() == ["b", "logs", "logs-2"]
    moved.delete()
    assert folder.exists() and not (folder.parent / "elsewhere").exists()


def test_a_folder_that_is_not_confined_follows_links(folder: Path) -> None:
    """A user's own storage may be put together from links."""
    (folder / "out").symlink_to("../mine")
    assert Storage(str(folder)).read("out/secret") == b"secret"


def test_a_name_that_is_no_text_hides_no_other(folder: Path, storage: Storage) -> None:
    (folder / "a").write_bytes(b"")
    os.close(os.open(os.fsencode(folder) + b"/\xff", os.O_CREAT))
    assert storage.list() == ["a", "\udcff"]
    assert storage.usage() == (2, 0)


# --- lines ---


def texts(lines: "list[Line]") -> list[bytes]:
    return [line.data for line in lines]


@pytest.mark.parametrize("content", [b"", b"a", b"a\n", b"a\n\nb", b"\n" * 5, b"a\r\nb\n"])
def test_lines_are_those_between_the_line_feeds(
    folder: Path, storage: Storage, content: bytes
) -> None:
    (folder / "a").write_bytes(content)
    found = storage.read_lines("a", list)
    assert b"".join(line.data + b"\n" * line.is_whole for line in found) == content
    ends = [line.end for line in found if line.is_whole]
    assert ends == [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    assert storage.read_lines("a", list, lambda _: ends[0] if ends else 0) == found[bool(ends) :]


def test_a_line_of_a_gigabyte_is_cut_and_the_next_one_is_read(
    folder: Path, storage: Storage
) -> None:
    sparse(folder / "a", 2**30)
    with open(folder / "a", "ab") as file:
        file.write(b"\nlast\n")
    tracemalloc.start()
    try:
        assert storage.read_lines("a", lambda lines: [len(line.data) for line in lines]) == [
            MAX_LINE_BYTES,
            4,
        ]
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


def test_more_lines_than_anybody_would_wait_for_are_refused(folder: Path, storage: Storage) -> None:
    sparse(folder / "a", 2**40)
    with pytest.raises(RefusedFileError, match=r"/a has 1,099,511,627,776 bytes"):
        storage.read_lines("a", list)


# --- documents and retries ---


@pytest.mark.parametrize("unit", [b"[],", b'{"":0},', b"0,"])
def test_a_document_that_unfolds_to_many_values_is_refused_before_it_is_parsed(
    unit: bytes,
) -> None:
    data = b'{"x": [' + unit * 5_000_000 + b"0]}"
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than 4,000,000 values"):
            parse_object(data)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_refusal_is_not_tried_again_and_does_not_use_up_the_time_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", waits.append)
    tries = Retries()

    def refuse() -> None:
        raise RefusedFileError("too large")

    with pytest.raises(RefusedFileError):
        tries.call(refuse)
    assert waits == []
    now = time.monotonic() + 2 * retries.MAX_FAILING_S
    monkeypatch.setattr(retries.time, "monotonic", lambda: now)
    answers = iter([StorageError("timeout"), None])

    def fail_once() -> None:
        if error := next(answers):
            raise error

    tries.call(fail_once)
    assert len(waits) == 1
