"""Import the code of a user's own model from a private copy, and find what makes the model."""

import contextlib
import difflib
import importlib
import importlib.util
import random
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from workers.errors import JobError, ModelError
from workers.models.own.blame import FOLDER_PREFIX, described, line_of
from workers.models.own.class_path import ClassPath
from workers.models.own.code import ModelCode

_RESERVED = {
    "orchestrator", "workers", "click", "numpy", "pathspec", "psutil", "pyarrow", "pydantic",
    "ray", "rich", "safetensors", "tensorboardX", "torch", "torchvision", "yaml",
    *sys.stdlib_module_names,
}  # fmt: skip
"""Names that a user's package must not have, since this process needs those modules itself."""
_one_at_a_time = threading.RLock()
_NEEDS_CUDA = ("CUDA", "NVIDIA", "cuda")


@contextlib.contextmanager
def imported(code: ModelCode, class_path: str, seed: int) -> Iterator[Any]:
    """Import the code, and return what `class_path` names.

    The code lies in a temporary folder within this context, from which it may import more of itself
    and read its data. What it prints goes to stderr, since stdout may be for a JSON document.
    Afterwards the process has its own modules again.

    Args:
        seed: of random numbers that the code draws while it is imported.

    Raises ModelError.
    """
    path = ClassPath.parse(class_path)
    with tempfile.TemporaryDirectory(
        prefix=FOLDER_PREFIX, ignore_cleanup_errors=True
    ) as name, contextlib.ExitStack() as stack:  # fmt: skip
        folder = Path(name).resolve()
        code.unpack(folder)
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        with explained(f"the model {class_path} cannot be imported", code), seeded(seed):
            if path.file:
                module = stack.enter_context(_file(folder / path.file, code))
            else:
                stack.enter_context(_package(folder, path))
                module = importlib.import_module(path.module)
        yield _named(module, path.attribute, class_path)


@contextlib.contextmanager
def _file(file: Path, code: ModelCode) -> Iterator[ModuleType]:
    """Import one file under a name that no other module has."""
    name = f"rnnjob_model_{code.sha256[:16]}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = _take_modules(name)
    sys.modules[name] = module  # dataclasses look for a class's module there
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        _take_modules(name)
        sys.modules.update(before)


@contextlib.contextmanager
def _package(folder: Path, path: ClassPath) -> Iterator[None]:
    """Within this context, a package is found in the folder and nowhere else."""
    if path.top in _RESERVED:
        raise ModelError(
            f"the package {path.top} of the model has the name of one that rnnjob needs itself",
            "give it another name",
        )
    before = _take_modules(path.top)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        _take_modules(path.top)
        sys.modules.update(before)


@contextlib.contextmanager
def without_package(class_path: str | None) -> Iterator[None]:
    """Within this context, a copy of a model's package can be imported from somewhere else.

    Afterwards the package is what it was before, and `sys.path`, too.
    """
    top = ClassPath.parse(class_path).top if class_path else ""
    path = list(sys.path)
    before = _take_modules(top) if top else {}
    try:
        yield
    finally:
        sys.path[:] = path
        if top:
            _take_modules(top)
            sys.modules.update(before)


def _take_modules(top: str) -> dict[str, ModuleType]:
    """Remove a module and all below it from this process, and return them."""
    names = [name for name in sys.modules if name == top or name.startswith(f"{top}.")]
    return {name: sys.modules.pop(name) for name in names}


def _named(module: ModuleType, attribute: str, class_path: str) -> Any:
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            own = [key for key, value in vars(found).items() if callable(value) and key[0] != "_"]
            near = difflib.get_close_matches(name, own, 3, cutoff=0.4) or own[:5]
            raise ModelError(
                f"{class_path}: there is no {name} in {getattr(found, '__name__', attribute)}"
                if not class_path.partition(":")[0].endswith(".py")
                else f"{class_path}: there is no {name} in the file",
                f"name a function or class of it: {', '.join(near)}"
                if near
                else "define a function or class there that returns the model",
            )
        found = getattr(found, name)
    return found


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within this context, the generators of the process begin at a seed, and its settings may
    change. Afterwards all are as they were. One thread at a time is in such a context."""
    with _one_at_a_time, _restored():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        yield


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    dtype, num_threads = torch.get_default_dtype(), torch.get_num_threads()
    device = torch.get_default_device()
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != num_threads:
            torch.set_num_threads(num_threads)
        if torch.get_default_device() != device:
            torch.set_default_device(device)


@contextlib.contextmanager
def explained(what: str, code: ModelCode | None = None) -> Iterator[None]:
    """Raise errors of the user's code as ModelError. `what`: what could not be done."""
    try:
        yield
    except JobError:
        raise
    except ModuleNotFoundError as error:
        raise _missing(error, what, code) from error
    except (Exception, SystemExit) as error:
        cure = "correct it; --verbose shows the whole error"
        if any(word in str(error) for word in _NEEDS_CUDA):
            cure = "build the model on the CPU, without .cuda(): rnnjob moves it to a worker's GPU"
        raise ModelError(f"{what}: {described(error)}", cure) from error


def _missing(error: ModuleNotFoundError, what: str, code: ModelCode | None) -> ModelError:
    name = (error.name or "").partition(".")[0]
    where = line_of(error)
    if code and name in code.beside:
        return ModelError(
            f"{where} imports {name}, which is a file beside it and not part of the model's code",
            "put both into a package, a folder with an __init__.py, and name that: "
            "--model package.module:NAME",
        )
    if not where or not name or any(path.split("/")[0] == name for path in (code or _NONE).files):
        return ModelError(f"{what}: {described(error)}", "correct the import")
    return ModelError(
        f"{where} imports the package {name}, which is not installed here",
        f"pip install {name}; where Ray runs the workers, it can do so: --set 'env.pip=[{name}]'",
    )


_NONE = ModelCode({})
