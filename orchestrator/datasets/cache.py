"""The folder of data sets that are cut already.

::

    <cache>/prepared/<name>-<key>/
        train-00000-of-00008.parquet  ...   the columns of workers.data.shard_schema
        validation-00000-of-00008.parquet ...
        test-00000-of-00008.parquet ...
        manifest.json                 rows and SHA-256 of each shard, shape and fingerprint of all

The key is a hash of the source's files and of all that decides the cut, so a changed source or
another `num_shards` never uses old shards. The folder is created atomically.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from orchestrator.datasets.manifest import MANIFEST, SCHEMA_VERSION
from workers.errors import DataError

_LAYOUT = 2
"""How the rows lie in the files: since 2 in row groups of the size of a block, with checksums."""


def default_cache() -> Path:
    """Return the folder RNNJOB_CACHE_DIR, or else `rnnjob` in the user's cache folder (XDG)."""
    if folder := os.environ.get("RNNJOB_CACHE_DIR"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rnnjob"


def cut_folder(cache: Path, name: str, decided_by: list[object]) -> Path:
    """Return the folder of a cut.

    Args:
        decided_by: all that decides the bytes of the cut, as JSON.
    """
    content = json.dumps([SCHEMA_VERSION, _LAYOUT, *decided_by]).encode()
    return cache / "prepared" / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"


def cut_once(folder: Path, cut: Callable[[Path], None], force: bool) -> None:
    """Let `cut` write the shards and the manifest, if that was not done before or is forced.

    The folder's time of change says when it was used last.
    """
    if not force and (folder / MANIFEST).is_file():
        with contextlib.suppress(OSError):  # the cache may be somebody else's
            os.utime(folder)
        return
    made = [parent for parent in (folder.parent, folder.parent.parent) if not parent.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    scratch.mkdir()  # mkdtemp's folder would be private, whatever the umask
    try:
        cut(scratch)
        _move_into_place(scratch, folder, force)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        for parent in made:  # a cut that failed leaves nothing behind
            with contextlib.suppress(OSError):
                parent.rmdir()


def _move_into_place(scratch: Path, folder: Path, force: bool) -> None:
    """Rename the scratch folder to its final name.

    If another process made the same cut at the same time, keep the folder of that process: its
    bytes are equal, and other processes may be reading them by now.
    """
    try:
        scratch.rename(folder)
        return
    except OSError:  # the folder exists and is not empty
        if not force and (folder / MANIFEST).is_file():
            return
    aside = scratch.with_name(f"{scratch.name}-old")
    folder.rename(aside)
    try:
        scratch.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def cache_errors(cache: Path) -> Iterator[None]:
    """Raise errors of the cache's file system as DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write the prepared data set below {cache}: {error.strerror or error}",
            "free some space there, or name another folder: RNNJOB_CACHE_DIR",
        ) from error
