"""Small runs that are trained in the process of the test, which is a matter of a second."""

from typing import Any

from orchestrator import runs
from orchestrator.driver.execute import execute
from orchestrator.driver.local_trainer import LocalTrainer
from orchestrator.launch.local import LocalLauncher
from orchestrator.launch.submission import check_new_run
from orchestrator.spec.build import build_spec

SMALL = {"training.epochs": 2, "training.global_batch_size": 16}
BUILT_IN = {"model.hidden_size": 8}


def train(run_id: str, dataset: str, **values: Any) -> None:
    """Train a run in `./runs`. `values`: keys of the spec, with __ in place of the point."""
    keys = {name.replace("__", "."): value for name, value in values.items()}
    built_in = {} if "model.class_path" in keys else BUILT_IN
    spec = build_spec(flags={"dataset.name": dataset, **SMALL, **built_in, **keys})
    run = check_new_run(spec, LocalLauncher(), run_id).create_run()
    status = execute(run, LocalTrainer())
    assert status.state == runs.SUCCEEDED, status
