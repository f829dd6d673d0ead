"""The job of a drill, and what is settled before anything runs."""

from collections.abc import Collection
from typing import Any

from orchestrator import runs, submission
from orchestrator.drill.plan import plan_faults
from orchestrator.drill.run import Drill, disturbed_id, undisturbed_id
from orchestrator.job_spec import JobSpec
from workers.errors import RunExistsError

DEFAULTS: dict[str, Any] = {
    "name": "drill",
    "dataset.name": "mnist-sample",
    # 784 time steps an image: steps so slow that a fault finds the job at work.
    "model.read": "pixels",
    "model.hidden_size": 32,
    "training.epochs": 2,
    "training.global_batch_size": 64,
    "scaling.workers": 2,
    "checkpoint.every_steps": 10,
}
"""Of the spec, where the user gives nothing else."""
_RESTARTS_PER_FAULT = 3
"""A node that is lost may cost more than one."""


def settle(
    spec: JobSpec, run_id: str | None, kinds: Collection[str], num_faults: int
) -> tuple[Drill, JobSpec]:
    """The plan, and the spec as it is to run; the faults have the seed of the job.

    Raises JobError; the data is prepared then, and nothing else written.
    """
    base = run_id or runs.new_run_id(spec.name)
    failures = max(spec.limits.max_failures, _RESTARTS_PER_FAULT * num_faults)
    spec = spec.with_values({"limits.max_failures": failures})
    checked = submission.check(spec, runs.LOCAL, undisturbed_id(base))
    for name in (undisturbed_id(base), disturbed_id(base)):
        if checked.storage.exists(name):
            raise RunExistsError(
                f"the run '{name}' is already in {checked.storage.where()}",
                "choose another --run-id, or leave it out to have one made",
            )
    seed = spec.training.seed
    drill = Drill(
        run_id=base,
        seed=seed,
        faults=plan_faults(kinds, num_faults, checked.num_steps, seed),
        num_steps=checked.num_steps,
        train_rows=checked.data.shape.train_rows,
    )
    return drill, checked.spec
