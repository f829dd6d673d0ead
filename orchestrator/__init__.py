"""Everything but the training loop: specifying, starting, driving and observing jobs. Importing
a module of it imports no torch, and Ray only in `launch.ray_client` and in some of
`driver.ray_train`.

>>> from orchestrator import submit
>>> run = submit({"dataset.name": "mnist-sample", "training.epochs": 10}, local=True)
>>> run.wait().result["test_accuracy"]
0.955
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "JobError",
    "JobSpec",
    "Report",
    "Run",
    "RunStatus",
    "build_spec",
    "list_runs",
    "open_run",
    "submit",
]

if TYPE_CHECKING:
    from orchestrator.api.report import Report
    from orchestrator.api.run import Run
    from orchestrator.api.submit import list_runs, open_run, submit
    from orchestrator.client import Client as Client
    from orchestrator.runs import RunStatus
    from orchestrator.spec.build import build_spec
    from orchestrator.spec.job_spec import JobSpec
    from workers.errors import JobError
else:
    _HOMES = {
        "Client": "orchestrator.client",  # not public any more; for scripts that have it
        "JobError": "workers.errors",
        "JobSpec": "orchestrator.spec.job_spec",
        "Report": "orchestrator.api.report",
        "Run": "orchestrator.api.run",
        "RunStatus": "orchestrator.runs",
        "build_spec": "orchestrator.spec.build",
        "list_runs": "orchestrator.api.submit",
        "open_run": "orchestrator.api.submit",
        "submit": "orchestrator.api.submit",
    }

    def __getattr__(name: str) -> Any:
        """Each is imported when it is asked for: `rnnjob --help` needs none of them."""
        if name not in _HOMES:
            raise AttributeError(f"module 'orchestrator' has no attribute '{name}'")
        return getattr(importlib.import_module(_HOMES[name]), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
