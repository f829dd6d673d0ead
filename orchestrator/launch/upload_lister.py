"""Go through a folder and decide for each file whether it is uploaded.

.gitignore and .rayignore are read as Ray reads them. Beyond that, the rules of `upload_rules` hold,
and no link out of the folder is followed.
"""

import ntpath
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.launch.upload_rules import (
    SECRET,
    IgnoreFile,
    folder_reason,
    name_reason,
    read_ignore_files,
    read_patterns,
)

LINK_OUT = "link out of the folder"
_LINK_CIRCLE = "link to a folder above it"
_NO_FILE = "neither file nor folder"
_BAD_NAME = "name that Ray does not unpack"
_NEVER_SENT = (LINK_OUT, _LINK_CIRCLE, _NO_FILE, _BAD_NAME)
"""Reasons that --include does not lift."""


@dataclass(frozen=True)
class ListedFile:
    """A file that is sent. An empty folder is sent, too; its path ends with a slash."""

    path: str
    num_bytes: int

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is not sent. The path of a folder ends with a slash."""

    path: str
    reasons: tuple[str, ...]


@dataclass
class Found:
    """What a folder holds. A folder of which nothing is sent is one entry of what is left out."""

    sent: list[ListedFile] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


@dataclass(frozen=True)
class _Above:
    """What holds for a path because of the folders above it."""

    reason: str = ""
    """Why a folder above is left out; empty if it is sent."""
    is_included: bool = False
    """Whether --include names a folder above. All of it is sent then, except for the secrets."""
    with_secrets: bool = False
    """Whether --include names a folder above that is a secret itself."""
    ignore_files: tuple[IgnoreFile, ...] = ()
    real_paths: tuple[str, ...] = ()


class Lister:
    """Lists one folder once."""

    def __init__(self, root: Path, include: tuple[str, ...], *, has_own_rules: bool) -> None:
        """`has_own_rules`: whether the rules of `upload_rules` hold, not only the ignore files."""
        self._root, self._has_own_rules = root, has_own_rules
        # A leading slash makes the pattern relative to the root.
        self._include = {
            pattern: read_patterns(["/" + pattern.removeprefix("./").rstrip("/")], "--include")
            for pattern in include
        }
        self._used: set[str] = set()

    def list_all(self) -> Found:
        """Raises InputError or OSError."""
        return self._list_folder("", _Above(self._ignored("", read_ignore_files(self._root, ""))))

    def unused_patterns(self) -> list[str]:
        """Return the patterns of `include` that named nothing in `list_all`."""
        return [pattern for pattern in self._include if pattern not in self._used]

    def _list_folder(self, relative: str, above: _Above) -> Found:
        folder = self._root / relative
        above = replace(
            above,
            ignore_files=(*above.ignore_files, *read_ignore_files(folder, relative)),
            real_paths=(*above.real_paths, os.path.realpath(folder)),
        )
        found = Found()
        names = sorted(path.name for path in folder.iterdir())
        for name in names:
            entry = self._list_entry(f"{relative}/{name}" if relative else name, above)
            found.sent += entry.sent
            found.left_out += entry.left_out
        if relative and not names and not above.reason:
            found.sent.append(ListedFile(relative + "/", 0))
        if relative and not found.sent:
            reasons = {reason: None for entry in found.left_out for reason in entry.reasons}
            found.left_out = [LeftOut(relative + "/", tuple(reasons) or (above.reason,))]
        return found

    def _list_entry(self, relative: str, above: _Above) -> Found:
        path = self._root / relative
        here = self._decide(relative, above)
        if path.is_dir() and here.reason not in _NEVER_SENT and (self._include or not here.reason):
            return self._list_folder(relative, here)
        if here.reason:
            name = relative + "/" if path.is_dir() else relative
            return Found(left_out=[LeftOut(name, (here.reason,))])
        return Found(sent=[ListedFile(relative, path.stat().st_size)])

    def _decide(self, relative: str, above: _Above) -> _Above:
        """Return what holds for a path and for what is below it."""
        is_named = self._is_named(relative)
        if reason := self._never_sent(relative, above):
            return replace(above, reason=reason)
        rule = self._rule(relative, above)
        if is_named:
            with_secrets = above.with_secrets or rule == SECRET
            return replace(above, reason="", is_included=True, with_secrets=with_secrets)
        is_lifted = above.with_secrets or (above.is_included and rule != SECRET)
        return above if above.reason or is_lifted or not rule else replace(above, reason=rule)

    def _never_sent(self, relative: str, above: _Above) -> str:
        path = self._root / relative
        if not _can_be_unpacked(relative):
            return _BAD_NAME
        if path.is_symlink():
            target = os.path.realpath(path)
            if not Path(target).is_relative_to(self._root):
                return LINK_OUT
            if target in above.real_paths:
                return _LINK_CIRCLE
        return "" if path.is_dir() or path.is_file() else _NO_FILE

    def _rule(self, relative: str, above: _Above) -> str:
        """Return the rule that a path falls under; empty if there is none."""
        path = self._root / relative
        judged = self._names_of(relative) if self._has_own_rules else []
        if reason := next(filter(None, map(name_reason, judged)), ""):
            return reason
        if reason := self._ignored(relative, above.ignore_files):
            return reason
        folders = [self._root / name for name in judged if (self._root / name).is_dir()]
        if reason := next(filter(None, map(folder_reason, folders)), ""):
            return reason
        return self._ignored(relative, read_ignore_files(path, relative)) if path.is_dir() else ""

    def _names_of(self, relative: str) -> list[str]:
        """Return a path and, of a link, the path it leads to with the folders above that."""
        if not (self._root / relative).is_symlink():
            return [relative]
        target = Path(os.path.realpath(self._root / relative)).relative_to(self._root)
        return [relative, str(target), *(str(folder) for folder in target.parents if folder.name)]

    def _ignored(self, relative: str, files: tuple[IgnoreFile, ...]) -> str:
        return next((file.name for file in files if file.matches(relative)), "")

    def _is_named(self, relative: str) -> bool:
        """Return whether --include names this path, and not only a folder above it."""
        above = relative.rpartition("/")[0]
        named = {
            pattern
            for pattern, paths in self._include.items()
            if paths.match_file(relative) and not (above and paths.match_file(above))
        }
        self._used |= named
        return bool(named)


def _can_be_unpacked(relative: str) -> bool:
    """Return whether Ray can pack a path and does not skip it as unsafe when it unpacks it."""
    try:
        relative.encode()
    except UnicodeEncodeError:
        return False
    return "\\" not in relative and not ntpath.splitdrive(relative)[0]
