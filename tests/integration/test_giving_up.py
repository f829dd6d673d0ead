"""A driver that gives up on its workers leaves no thread behind that uses Ray.

Ray ends the process of a thread that uses it after the driver has left it: at once, with exit code
1, and before the outcome is written.
"""

import json
import multiprocessing
import threading
from dataclasses import replace
from pathlib import Path

from tests.conftest import ENOUGH_S
from tests.unit.fakes import tiny_spec
from workers.records.run_folder import StopRequest
from workers.storage.storage import Storage

FOUND = "found.json"


def give_up(folder: Path, private_dir: Path) -> None:
    """Run a job whose workers find no room, ask it to stop, and write down what came of it."""
    import ray
    from ray.util.placement_group import placement_group

    from orchestrator import runs
    from orchestrator.driver.ray_trainer import RayTrainer
    from orchestrator.spec.plan import make_plan
    from workers.errors import JobError

    spec = tiny_spec(folder)
    run = runs.create_run(Storage(spec.storage), "r", spec.to_yaml(), runs.RAY)
    runs.write_status(run, replace(runs.read_status(run), state=runs.PENDING))
    with RayTrainer(str(private_dir)) as trainer:
        trainer.wait_for_capacity(run, spec, lambda reason: None)
        plan = make_plan(run, spec, 1, trainer.resolve_precision)
        others = placement_group([{"CPU": 1.0}] * int(ray.cluster_resources()["CPU"]))
        assert others.wait(ENOUGH_S)
        run.ask_to_stop(StopRequest("enough"))
        before = set(threading.enumerate())
        try:
            trainer.train(plan)
        except JobError as error:
            more = [thread.name for thread in threading.enumerate() if thread not in before]
            found = {"cause": error.cause, "exit_code": error.exit_code, "threads": more}
            (folder / FOUND).write_text(json.dumps(found))


def test_no_thread_still_waits_for_ray_when_the_driver_has_given_up(
    tmp_path: Path, temp_root: Path, no_process_left: None
) -> None:
    private_dir = temp_root / "given-up"
    process = multiprocessing.get_context("spawn").Process(
        target=give_up, args=(tmp_path, private_dir)
    )
    process.start()
    try:
        process.join(ENOUGH_S)
    finally:
        process.kill()
    assert process.exitcode == 0
    found = json.loads((tmp_path / FOUND).read_text())
    assert found == {"cause": "enough, while no worker ran", "exit_code": 5, "threads": []}
