"""Take the code of a user's own model off this machine's disk, as it will lie in the run folder."""

import importlib.util
from pathlib import Path

from orchestrator.launch.trusted_code import check_trusted, trust
from orchestrator.launch.upload_lister import LINK_OUT, Lister
from orchestrator.spec.job_spec import JobSpec
from orchestrator.units import show_bytes
from workers.errors import ModelError
from workers.models import shipped
from workers.models.own.class_path import ClassPath
from workers.models.own.code import (
    MAX_BYTES,
    MAX_FILE_BYTES,
    MAX_FILES,
    ModelCode,
    is_safe,
    read_code,
)
from workers.records.run_folder import RunFolder

_SHIPPED = shipped.__name__
_COMPILED = {".pyc", ".pyo", ".so", ".pyd", ".o", ".a", ".dll", ".dylib"}


def code_for(spec: JobSpec, stored: ModelCode | None = None) -> tuple[JobSpec, ModelCode | None]:
    """Return the code of a new job's own model, and the spec that names it.

    Args:
        stored: the code of the run of which the job is a copy. It is used instead of that on disk.

    Without an own model, returns the spec as it is. Raises ModelError.
    """
    if spec.model.class_path is None:
        return spec, None
    path = located(ClassPath.parse(spec.model.class_path))
    code = stored or collect(path)
    wanted = spec.model.code_sha256
    if wanted is not None and wanted != code.sha256:
        raise ModelError(
            f"the code of {spec.model.class_path} is not the one that model.code_sha256 names",
            f"take the code of that run: --model RUN_FOLDER/{RunFolder.MODEL_CODE}/..., or the "
            "present one: --set model.code_sha256=null",
        )
    values = {"model.class_path": path.stored, "model.code_sha256": code.sha256}
    return spec.with_values(values), code


def stored_code(run: RunFolder, spec: JobSpec, trust_code: bool = False) -> ModelCode | None:
    """Return the code in a run's folder, which will be run; None if the run has a built-in model.

    `trust_code`: the user says that this code, whatever it is, may be run.

    Raises StorageError if it is not the code that the run was submitted with; InputError if this
    user has neither submitted it nor said to trust it.
    """
    if spec.model.class_path is None:
        return None
    if spec.model.code_sha256 is None:
        raise ModelError(
            f"{run.storage.where(run.JOB)} names a model of its own, but no code",
            "name a run whose folder is whole",
        )
    code = read_code(run, spec.model.code_sha256)
    if trust_code:
        trust(code)
    check_trusted(run, code)
    return code


def located(path: ClassPath) -> ClassPath:
    """Return the file of a model that comes with rnnjob, and any other path as it is.

    The code of such a model is its file: a run does not take along all of rnnjob.
    """
    package, _, name = path.module.rpartition(".")
    if package != _SHIPPED:
        return path
    file = Path(shipped.__file__).with_name(f"{name}.py")
    return ClassPath(str(file), "", path.attribute)


def collect(path: ClassPath) -> ModelCode:
    """Read the file, or the package's files, that a class path names. Raises ModelError."""
    try:
        if path.file:
            return _one_file(Path(path.file).expanduser())
        return _module(path.top)
    except (OSError, RuntimeError) as error:
        raise ModelError(f"the model's code cannot be read: {error}", "check --model") from error


def _one_file(file: Path) -> ModelCode:
    if not file.is_file():
        raise ModelError(
            f"the model's file {file} {'is no file' if file.exists() else 'does not exist'}",
            "check --model FILE.py:NAME",
        )
    if not is_safe(file.name):
        raise ModelError(f"the model's file {file.name!r} has an unusual name", "rename it")
    others = file.resolve().parent.iterdir()
    beside = {other.stem for other in others if other.suffix == ".py" or other.is_dir()}
    return ModelCode({file.name: _content(file)}, frozenset(beside - {file.stem}))


def _module(name: str) -> ModelCode:
    """Read a package, or a module of one file. The working directory comes first."""
    here = Path.cwd()
    if _is_package(here / name):
        return _package(here / name)
    if (here / f"{name}.py").is_file():
        return ModelCode({f"{name}.py": _content(here / f"{name}.py")})
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None:
        raise ModelError(
            f"there is no module {name} in {here} or among the installed packages",
            f"go to the folder with {name}, or name a file: --model FILE.py:NAME",
        )
    if folders := list(spec.submodule_search_locations or []):
        return _package(Path(folders[0]))
    if spec.origin is None or not spec.origin.endswith(".py"):
        raise ModelError(
            f"the module {name} is not written in Python, so that its code cannot be taken along",
            "write a file of your own that imports it, and name that: --model FILE.py:NAME",
        )
    return ModelCode({f"{name}.py": _content(Path(spec.origin))})


def _is_package(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("*.py"))


def _package(folder: Path) -> ModelCode:
    """Read a package's folder by the rules of an upload: no secrets, caches or run folders."""
    found = Lister(folder.resolve(), (), has_own_rules=True).list_all()
    for left_out in found.left_out:
        if LINK_OUT in left_out.reasons:
            raise ModelError(
                f"{folder / left_out.path} leads out of the package, through a symbolic link",
                "copy what it leads to into the package",
            )
    names = [
        entry.path
        for entry in found.sent
        if not entry.is_folder and Path(entry.path).suffix not in _COMPILED
    ]
    if len(names) > MAX_FILES:
        raise _too_large(f"the package {folder} has {len(names)} files", f"{MAX_FILES} files")
    files = {f"{folder.name}/{name}": _content(folder / name) for name in names}
    if unsafe := [name for name in files if not is_safe(name)]:
        raise ModelError(f"{unsafe[0]!r} in the model's package is an unusual name", "rename it")
    if (size := sum(map(len, files.values()))) > MAX_BYTES:
        largest = max(files, key=lambda name: len(files[name]))
        raise _too_large(
            f"the package {folder} has {show_bytes(size)}, {largest} most of all",
            show_bytes(MAX_BYTES),
        )
    return ModelCode(files)


def _content(file: Path) -> bytes:
    if (size := file.stat().st_size) > MAX_FILE_BYTES:
        raise _too_large(f"{file} has {show_bytes(size)}", f"{show_bytes(MAX_FILE_BYTES)} a file")
    return file.read_bytes()


def _too_large(what: str, limit: str) -> ModelError:
    return ModelError(
        f"{what}: no more than {limit} of a model's code are taken along",
        "keep weights and data elsewhere; or write a file of your own that imports the package "
        "from where it is installed: --model FILE.py:NAME",
    )
