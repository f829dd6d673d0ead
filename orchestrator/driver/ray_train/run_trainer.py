"""Ray Train's trainer with other policies, with fewer processes, and looked after meanwhile."""

from collections.abc import Callable
from typing import Any

import ray
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import ElasticScalingPolicy
from ray.train.v2._internal.execution.worker_group import worker_group
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from orchestrator.driver.ray_train.scaling_policies import (
    AllWorkersAlone,
    CheckpointFirst,
    FixedWorkers,
)
from orchestrator.driver.ray_train.unsplit_datasets import UnsplitDatasetsCallback


class RunTrainer(DataParallelTrainer):  # type: ignore[misc]  # Ray is not typed
    """A trainer whose resizes lose no step, and whose requests do not outlive it.

    It is Ray's TorchTrainer but for what that imports: see `process_group`.
    """

    def __init__(
        self,
        *arguments: Any,
        run_uri: str,
        has_own_ray: bool,
        has_open_cpus: bool,
        look_after: Callable[[], None],
        every_s: float,
        **more: Any,
    ) -> None:
        """See `orchestrator.driver.ray_train.fit.build_trainer`."""
        super().__init__(*arguments, **more)
        self._run_uri, self._has_own_ray = run_uri, has_own_ray
        self._has_open_cpus = has_open_cpus
        self._look_after, self._every_s = look_after, every_s

    def _create_default_callbacks(self) -> list[Any]:
        """Override: no process that splits datasets, and on a Ray of its own none that would remove
        what a lost controller held.

        The latter asks the dashboard, which a Ray of its own lacks. There the driver does it.
        """
        callbacks: list[Any] = [
            UnsplitDatasetsCallback(self.train_run_context, self.datasets)
            if isinstance(each, DatasetsCallback)
            else each
            for each in super()._create_default_callbacks()
        ]
        if not self._has_own_ray:
            return callbacks
        kept = [each for each in callbacks if not isinstance(each, PlacementGroupCleanerCallback)]
        return [*kept, InheritedEnvironment()]

    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        """Override: give the controller other policies than `fit` made for it, and look after the
        job while it runs.

        Ray Train waits for the controller without end. A thread that did so would still use Ray
        when this process leaves it, and Ray ends the process for that.
        """
        is_elastic = isinstance(parts["scaling_policy"], ElasticScalingPolicy)
        parts["scaling_policy"] = self._policy(is_elastic)
        controller = self._start_controller(parts)
        end = controller.run.remote()
        while not ray.wait([end], timeout=self._every_s)[0]:
            self._look_after()
        ray.get(end)
        return ray.get(controller.get_result.remote())

    def _start_controller(self, parts: dict[str, Any]) -> Any:
        """Start a controller on this node as Ray Train does, but on a Ray of its own in the
        environment of that."""
        here = {ray._raylet.RAY_NODE_ID_KEY: ray.get_runtime_context().get_node_id()}
        options: dict[str, Any] = {"num_cpus": 0, "label_selector": here}
        if not self._has_own_ray:
            options["runtime_env"] = {"env_vars": get_env_vars_to_propagate()}
        return ray.remote(**options)(TrainController).remote(**parts)

    def _policy(self, is_elastic: bool) -> Any:
        if is_elastic:
            return CheckpointFirst(self.scaling_config, self._run_uri)
        if self._has_own_ray:
            return AllWorkersAlone(self.scaling_config)
        return FixedWorkers(self.scaling_config, self._has_open_cpus)


class InheritedEnvironment(ControllerCallback):  # type: ignore[misc]
    """Has the workers take the environment of their Ray as it is.

    For processes with variables of their own, Ray does not take those that wait already. It starts
    others, by a program that imports Ray once more: half a second of CPU time for each.
    """

    def after_controller_start(self, train_run_context: Any) -> None:
        """Override, in the controller's process."""
        worker_group.get_env_vars_to_propagate = dict
