"""Check the versions of Python and of the packages that rnnjob requires."""

import platform
import sys
from collections.abc import Iterable
from importlib import metadata
from typing import TYPE_CHECKING

from orchestrator.cluster.kuberay.client_code import declared
from orchestrator.doctor.check import FAIL, OK, Check

if TYPE_CHECKING:
    from packaging.requirements import Requirement


def required_versions(package: str) -> str:
    """Return the range of versions that rnnjob requires of a package, or of `python`."""
    from packaging.requirements import Requirement

    pythons, requirements = declared()
    if package == "python":
        return pythons
    parsed = (Requirement(line) for line in requirements)
    return next(str(r.specifier) for r in parsed if r.name == package and not r.marker)


def fits(version: str, versions: str) -> bool:
    """Return whether a version is within a range such as `>=2,<3`."""
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(versions).contains(version, prereleases=True)


def check_python(version: str | None = None) -> Check:
    """Check a Python version, by default that of this Python."""
    version, wanted = version or platform.python_version(), required_versions("python")
    if fits(version, wanted):
        return Check("python", OK, f"{version}, {sys.executable}")
    detail = f"{version}, but rnnjob needs {wanted}"
    return Check("python", FAIL, detail, f"install Python {wanted}")


def check_packages(requirements: Iterable[str] | None = None) -> list[Check]:
    """Check each package that rnnjob depends on.

    `requirements`: check these requirements instead of rnnjob's own.
    """
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
        return Check(name, FAIL, f"not installed, but rnnjob needs {needed}", cure)
    if fits(version, str(needed)):
        return Check(name, OK, version)
    return Check(name, FAIL, f"{version}, but rnnjob needs {needed}", cure)
