"""What a working directory may hold that does not go to a cluster unless it is asked for."""

import fnmatch
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.errors import InputError

if TYPE_CHECKING:
    from pathspec import PathSpec

SECRET = "secret"
RUN_FOLDER = "run folder"
CUT_DATA = "cut data set"
VIRTUAL_ENVIRONMENT = "virtual environment"
VERSION_CONTROL = "version control"
CACHE = "cache"

_NAMES = {
    SECRET: """
        .env .env.* .envrc secrets.json secrets.toml secrets.yaml secrets.yml
        .netrc _netrc .pgpass .my.cnf .htpasswd .git-credentials .vault-token
        .npmrc .pypirc .dockercfg
        .ssh .gnupg id_rsa* id_dsa* id_ecdsa* id_ed25519*
        *.pem *.key *.p12 *.pfx *.jks *.keystore *.ppk *.kdbx
        .aws .azure .boto .s3cfg .kube kubeconfig .databrickscfg *.tfstate *.tfstate.backup
        credentials.json client_secret*.json application_default_credentials.json
        service-account*.json service_account*.json kaggle.json
        """,
    VIRTUAL_ENVIRONMENT: ".venv venv .tox .nox",
    VERSION_CONTROL: ".git .hg .svn",
    CACHE: """
        __pycache__ .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .ipynb_checkpoints
        """,
}
"""Reasons to leave something out, each with the names of files and folders that it holds for, in
lower case. The lines of the secrets: passwords and tokens by the convention of frameworks, of
programs, of package indexes; private keys by name and by ending; credentials of clouds."""
_SECRET_PATHS = {
    ".docker/config.json",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".config/gcloud",
    ".ray/auth_token",
    "rnnjob/clusters",
}
"""Secrets that are told by their folder, too. The last two hold the tokens of Ray's clusters."""

_PATTERNS = {
    reason: re.compile("|".join(map(fnmatch.translate, names.split())))
    for reason, names in _NAMES.items()
}
_SHARD = re.compile(r".+-\d{5}-of-\d{5}\.parquet")
_PUBLISHED = ".data"
"""Where a storage keeps the cut data sets of its runs. The manifest of one is written last."""


def name_reason(relative: str) -> str:
    """Return why a path is left out, by its name; empty if there is no reason."""
    *above, name = relative.lower().split("/")
    if "/".join((*above[-1:], name)) in _SECRET_PATHS:
        return SECRET
    return next((reason for reason, names in _PATTERNS.items() if names.match(name)), "")


def folder_reason(folder: Path) -> str:
    """Return why a folder is left out, by what is in it; empty if there is no reason."""
    names = {path.name for path in folder.iterdir()}
    if "status.json" in names and "job.yaml" in names:
        return RUN_FOLDER
    is_complete = "manifest.json" in names or folder.parent.name == _PUBLISHED
    if is_complete and any(map(_SHARD.fullmatch, names)):
        return CUT_DATA
    if "pyvenv.cfg" in names or "conda-meta" in names:
        return VIRTUAL_ENVIRONMENT
    return CACHE if "CACHEDIR.TAG" in names else ""


def read_patterns(lines: Iterable[str], where: str) -> "PathSpec[Any]":
    """Return a matcher for lines as in .gitignore. Raises InputError, which names `where`."""
    # It is loaded only here, since most commands upload nothing.
    from pathspec import PathSpec
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    try:
        return PathSpec.from_lines(GitIgnoreSpecPattern, lines, backend="simple")
    except ValueError as error:
        raise InputError(
            f"{where} has a pattern that is not valid: {error}", "correct it"
        ) from error


@dataclass(frozen=True)
class IgnoreFile:
    """The patterns of a .rayignore or .gitignore."""

    name: str
    folder: str
    """The path of its folder, relative to the working directory; empty for that itself."""
    patterns: "PathSpec[Any]"

    def matches(self, relative: str) -> bool:
        """Return whether a path in the folder is left out, or the folder itself.

        Ray asks for paths without a slash at the end: `data/` matches only what is in `data`.
        """
        inner = relative[len(self.folder) :].lstrip("/") if self.folder else relative
        return bool(self.patterns.match_file(inner or "."))


def read_ignore_files(folder: Path, relative: str) -> tuple[IgnoreFile, ...]:
    """Read the ignore files of a folder that Ray would read. Raises InputError or OSError."""
    names = [".gitignore", ".rayignore"]
    if os.environ.get("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", "0") == "1":
        names.remove(".gitignore")
    found = []
    for name in names:
        if (file := folder / name).is_file():
            lines = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            found.append(IgnoreFile(name, relative, read_patterns(lines, str(file))))
    return tuple(found)
