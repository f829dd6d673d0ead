"""The code of the models that this process trains now."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from torch import nn

from workers.config import ModelConfig, TrainJob
from workers.data.kinds import DataShape
from workers.models.own.build import Factory
from workers.models.own.code import read_code
from workers.models.own.facts import offered
from workers.models.own.importing import imported
from workers.records.run_folder import RunFolder
from workers.seeds import Purpose, seed_of

_lock = threading.Lock()
_Key = tuple[str, str, int]
"""The hash of a model's code, the name of what makes it, and the seed."""
_functions: dict[_Key, Any] = {}
_uses: dict[_Key, int] = {}
_imports: dict[_Key, contextlib.ExitStack] = {}


@contextlib.contextmanager
def code_of(job: TrainJob) -> Iterator[None]:
    """Within this context, `build` can build the job's model if that is one of the user's own.

    Raises ModelError, or StorageError if the run folder has not the code that the job names.
    """
    if job.model.class_path is None:
        yield
        return
    key = _key(job.model, job.training.seed)
    with _lock:
        if key not in _functions:
            code = read_code(RunFolder.at(job.run_uri).with_retries(), key[0])
            stack = contextlib.ExitStack()
            seed = seed_of(job.training.seed, Purpose.INIT)
            _functions[key] = stack.enter_context(imported(code, key[1], seed))
            _imports[key] = stack
        _uses[key] = _uses.get(key, 0) + 1
    try:
        yield
    finally:
        with _lock:
            _uses[key] -= 1
            if not _uses[key]:
                del _functions[key], _uses[key]
                _imports.pop(key).close()


def build(config: ModelConfig, data: DataShape, seed: int) -> nn.Module:
    """Return a new model within `code_of`. Its first weights are a function of the code, the
    arguments and the seed. Raises ModelError."""
    return factory(_functions[_key(config, seed)], config, data, seed).build()


def arguments_of(config: ModelConfig, data: DataShape, seed: int) -> dict[str, Any]:
    """Return what the model is built with within `code_of`. Raises ModelError."""
    return factory(_functions[_key(config, seed)], config, data, seed).arguments()


def factory(function: Any, config: ModelConfig, data: DataShape, seed: int) -> Factory:
    """Return what makes the model of a job. `function`: what `class_path` names."""
    return Factory(
        config.class_path or "",
        function,
        offered(data, config.read),
        config.init_args,
        seed_of(seed, Purpose.INIT),
    )


def _key(config: ModelConfig, seed: int) -> _Key:
    assert config.code_sha256 is not None and config.class_path is not None
    return config.code_sha256, config.class_path, seed
