"""The private folders of killed processes of this user on this machine, Ray's above all."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from orchestrator.cluster import local_registry
from orchestrator.cluster.local_processes import MARK
from orchestrator.cluster.ray_command import short_temp_dir
from orchestrator.driver.environment import RAY_DIR
from orchestrator.upkeep.unneeded import LEFTOVER, Cutoff, Unneeded
from workers.storage.storage import Storage

_OURS = re.compile(r"rnnjob-((c|code|drill|import|model)-)?[a-z0-9_]{8}")
"""The names that `tempfile` makes of our prefixes."""


def unneeded_temporary_folders(cutoff: Cutoff) -> Iterator[Unneeded]:
    """Yield the folders that no process of this machine uses, and no local cluster has."""
    folders = [folder for folder in _our_folders() if folder.lstat().st_mtime < cutoff.time]
    if not folders:
        return
    clusters = (cluster.folder for cluster in local_registry.find_all())
    in_use = {*_named_by_processes(), *clusters}
    for folder in folders:
        if not any(Path(path).is_relative_to(folder) for path in in_use):
            storage = Storage(str(folder))
            yield from cutoff.unneeded(LEFTOVER, storage, "its process is gone")


def _our_folders() -> Iterator[Path]:
    for parent in {short_temp_dir(), os.path.realpath(tempfile.gettempdir())}:
        for entry in os.scandir(parent):
            # Others may put a folder of such a name there, or a link to one of ours.
            if _OURS.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat(follow_symlinks=False).st_uid == os.getuid():
                        yield Path(entry.path)


def _named_by_processes() -> Iterator[str]:
    """Yield the paths that the processes of this user name: in their environment, as their working
    folder, or as a word of their command line."""
    for process in psutil.process_iter():
        # Each of these may be refused on its own, and the process may end meanwhile.
        with contextlib.suppress(psutil.Error, OSError):
            yield process.cwd()
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            yield from (environment[name] for name in (RAY_DIR, MARK) if name in environment)
        with contextlib.suppress(psutil.Error, OSError):
            for word in process.cmdline():
                yield from re.findall(r"/[^\s=:,\"']+", word)
