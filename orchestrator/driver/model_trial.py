"""Try a user's own model before workers are asked for: here, or where its packages are."""

import logging
from typing import TYPE_CHECKING, Any

from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import open_data, read_spec
from workers.errors import JobError, ModelError
from workers.models.own.code import ModelCode, read_code
from workers.records.run_folder import RunFolder

if TYPE_CHECKING:
    from workers.data.kinds import DataShape

log = logging.getLogger(__name__)


def try_here(code: ModelCode, spec: JobSpec, shape: "DataShape") -> list[str]:
    """Try a model in this process. Return what is accepted, but should be known.

    Raises ModelError.
    """
    from workers.models.own.trial import try_model

    return try_model(code, spec.model, shape, spec.training)


def try_run(run_uri: str) -> list[str]:
    """Try the model of a run in this process, with the code in its folder. Raises JobError."""
    run = RunFolder.at(run_uri).with_retries()
    spec = read_spec(run)
    assert spec.model.code_sha256 is not None
    code = read_code(run, spec.model.code_sha256)
    return try_here(code, spec, open_data(spec, 1).shape)


def try_in_task(run: RunFolder, pip: tuple[str, ...]) -> list[str]:
    """Try the model of a run in a task of Ray, for which Ray installs the packages.

    Raises JobError.
    """
    import ray

    task = ray.remote(num_cpus=1, max_retries=0, runtime_env={"pip": list(pip)})(_outcome)
    try:
        outcome: dict[str, Any] = ray.get(task.remote(run.storage.uri))
    except ray.exceptions.RuntimeEnvSetupError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ModelError(
            f"Ray cannot install {', '.join(pip)}: {lines[-1].strip()[:300]}",
            "correct env.pip, or install the packages yourself",
        ) from error
    if failure := outcome.get("error"):
        raise failure
    warnings: list[str] = outcome["warnings"]
    return warnings


def _outcome(run_uri: str) -> dict[str, Any]:
    """Return the warnings, or the error itself: what Ray raises instead is another type."""
    try:
        return {"warnings": try_run(run_uri)}
    except JobError as error:
        error.__cause__ = None  # it may be of a type that only the task knows
        return {"error": error}
