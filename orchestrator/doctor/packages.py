"""Checks of Python and of the packages, against what rnnjob declares."""

import platform
import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.doctor.check import FAIL, OK, Check

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_PACKAGE = "rnnjob"


@lru_cache(maxsize=1)
def declared() -> tuple[str, tuple[str, ...]]:
    """The Pythons and the packages that rnnjob asks for.

    From pyproject.toml in a checkout, which may be newer than what pip noted when it installed it.
    """
    file = Path(__file__).parents[2] / "pyproject.toml"
    if sys.version_info >= (3, 11) and file.is_file():
        import tomllib

        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == _PACKAGE:
            return project["requires-python"], tuple(project["dependencies"])
    requires = metadata.requires(_PACKAGE) or []
    return metadata.metadata(_PACKAGE)["Requires-Python"], tuple(requires)


def range_of(package: str) -> str:
    """The versions of a package, or of `python`, that rnnjob is made for."""
    from packaging.requirements import Requirement

    pythons, requirements = declared()
    if package == "python":
        return pythons
    found = (Requirement(line) for line in requirements)
    return next(str(one.specifier) for one in found if one.name == package and not one.marker)


def fits(version: str, versions: str) -> bool:
    """Whether a version is within a range such as `>=2,<3`."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(versions).contains(version, prereleases=True)


def check_python(version: str | None = None) -> Check:
    """Whether this Python, or another version of it, is one that rnnjob is made for."""
    version, wanted = version or platform.python_version(), range_of("python")
    if fits(version, wanted):
        return Check("python", OK, f"{version}, {sys.executable}")
    return Check("python", FAIL, f"{version}, and rnnjob needs {wanted}", "install such a Python")


def check_packages(requirements: Iterable[str] | None = None) -> list[Check]:
    """Each package that rnnjob depends on. `requirements`: others than its own."""
    from packaging.requirements import Requirement

    wanted = map(Requirement, declared()[1] if requirements is None else requirements)
    return [
        _check_package(requirement)
        for requirement in wanted
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    ]


def _check_package(requirement: "Requirement") -> Check:
    name, needed = f"package {requirement.name}", requirement.specifier
    requirement.marker = None
    cure = f"pip install '{requirement}'"
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Check(name, FAIL, f"not installed; {needed} is needed", cure)
    if fits(version, str(needed)):
        return Check(name, OK, version)
    return Check(name, FAIL, f"{version}, and rnnjob needs {needed}", cure)
