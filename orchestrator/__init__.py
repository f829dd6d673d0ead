"""Everything but the training loop: specifying, starting, driving and observing jobs. Importing
a module of it imports neither torch nor Ray, except `launch.ray_client`.

>>> from orchestrator import Client, build_spec
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Client", "JobSpec", "RunStatus", "build_spec"]

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.runs import RunStatus
    from orchestrator.spec.build import build_spec
    from orchestrator.spec.job_spec import JobSpec
else:
    _HOMES = {
        "Client": "client",
        "JobSpec": "spec.job_spec",
        "RunStatus": "runs",
        "build_spec": "spec.build",
    }

    def __getattr__(name: str) -> Any:
        """Each is imported when it is asked for: `rnnjob --help` needs none of them."""
        if name not in _HOMES:
            raise AttributeError(f"module 'orchestrator' has no attribute '{name}'")
        return getattr(importlib.import_module(f"orchestrator.{_HOMES[name]}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
