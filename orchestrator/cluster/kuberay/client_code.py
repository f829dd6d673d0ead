"""This client's own code as a wheel, for pods whose image does not contain it.

No pod installs rnnjob by its name, because on an index anybody may own that name. The wheel is
written into the job's storage instead, and `code_bootstrap` checks its SHA-256 in the pod.
"""

import base64
import hashlib
import importlib.util
import io
import sys
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from orchestrator import __version__
from workers.errors import InputError, StorageError
from workers.storage.storage import Storage

_NAME = "rnnjob"
_PACKAGES = ("orchestrator", "workers")
_PUBLISHED = ".code"
_SUFFIXES = (".py", ".md", ".parquet", ".json", ".css", ".js")
"""What the packages consist of, beside `py.typed`. Other files that lie there stay at home."""
_IN_THE_IMAGE = "ray"
"""Ray's image contains it, and Ray refuses to start a job that would install another version."""
_WHEEL = "Wheel-Version: 1.0\nGenerator: rnnjob\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_CURE = "use an image that contains rnnjob: --image, or a --storage that this machine can write"


@dataclass(frozen=True)
class ClientCode:
    """A version of rnnjob that pods can run."""

    wheel: bytes = field(repr=False)
    requirements: tuple[str, ...]
    """The packages that it needs beside Ray, each with one exact version: `numpy==2.4.6`."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.wheel).hexdigest()

    @property
    def name(self) -> str:
        """The path of the wheel within a storage. Different code has a different path."""
        return f"{_PUBLISHED}/{self.sha256[:12]}/{_NAME}-{__version__}-py3-none-any.whl"


def client_code() -> ClientCode:
    """Build the wheel from the files of the packages that this process runs.

    The bytes depend only on these files and on the declared requirements. Neither an index nor a
    build tool is asked. Raises InputError if rnnjob or a requirement of it is not installed here.
    """
    from packaging.requirements import Requirement

    try:
        requirements = [Requirement(line) for line in declared()[1]]
        wanted = [r for r in requirements if not r.marker or r.marker.evaluate({"extra": ""})]
        pinned = tuple(
            f"{requirement.name}=={_installed_version(requirement.name)}"
            for requirement in wanted
            if requirement.name != _IN_THE_IMAGE
        )
    except metadata.PackageNotFoundError as error:
        raise InputError(
            f"the package {error.name} is not installed here, so the pods' version is unknown",
            f"install it here, or {_CURE.partition(',')[0]}",
        ) from error
    return ClientCode(_build_wheel(sorted(map(str, wanted))), pinned)


def publish(code: ClientCode, storage: Storage, mounts: Iterable[Path]) -> str:
    """Write the wheel into a storage, and return where it is now.

    `mounts`: where the pods mount shared volumes. A storage on one of them can be written only if
    the same volume is mounted here. Raises InputError if it is not, StorageError if writing fails.
    """
    path = storage.local_path
    if path and not any(path.is_relative_to(mount) and mount.is_dir() for mount in mounts):
        raise InputError(
            f"this client's code cannot be put into {storage.where()}: the pods' volume is not "
            "mounted on this machine",
            _CURE,
        )
    try:
        storage.write(code.name, code.wheel)
    except StorageError as error:
        raise StorageError(error.cause, _CURE) from error
    return storage.where(code.name)


@lru_cache(maxsize=1)
def declared() -> tuple[str, tuple[str, ...]]:
    """Return the Python versions and the packages that rnnjob requires.

    In a checkout they are read from pyproject.toml, which may be newer than the metadata that pip
    wrote when it installed the package.
    """
    file = Path(__file__).parents[3] / "pyproject.toml"
    if sys.version_info >= (3, 11) and file.is_file():
        import tomllib

        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == _NAME:
            return project["requires-python"], tuple(project["dependencies"])
    requires = metadata.requires(_NAME) or []
    return metadata.metadata(_NAME)["Requires-Python"], tuple(requires)


def _installed_version(package: str) -> str:
    """Return a version as an index knows it: without the name of a build, such as `+cpu`."""
    return metadata.version(package).partition("+")[0]


def _build_wheel(requirements: list[str]) -> bytes:
    info = f"{_NAME}-{__version__}.dist-info"
    head = f"Metadata-Version: 2.1\nName: {_NAME}\nVersion: {__version__}\n"
    needs = "".join(f"Requires-Dist: {requirement}\n" for requirement in requirements)
    files = dict(_package_files())
    files[f"{info}/METADATA"] = f"{head}{needs}".encode()
    files[f"{info}/WHEEL"] = _WHEEL.encode()
    lines = [f"{name},{_record(content)}\n" for name, content in files.items()]
    files[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"]).encode()
    wheel = io.BytesIO()
    # Without compression the bytes do not depend on the version of zlib.
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)  # its date is fixed: 1980-01-01
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, content)
    return wheel.getvalue()


def _package_files() -> Iterator[tuple[str, bytes]]:
    """Yield the files of the packages: their path within the wheel, and their content."""
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.origin is not None, package
        root = Path(spec.origin).parents[1]
        names = (path.relative_to(root).as_posix() for path in (root / package).rglob("*"))
        for name in sorted(filter(_is_shipped, names)):
            yield name, (root / name).read_bytes()


def _is_shipped(name: str) -> bool:
    return name.endswith((*_SUFFIXES, "/py.typed")) and "/." not in name


def _record(content: bytes) -> str:
    """Return how a wheel's RECORD describes the content of a file."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
    return f"sha256={digest.decode()},{len(content)}"
