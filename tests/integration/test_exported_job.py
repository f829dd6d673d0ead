"""A job exported for KubeRay, submitted to real Ray nodes as KubeRay submits it."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

from orchestrator.cluster.kuberay.client_code import client_code
from tests.conftest import ENOUGH_S, Cli
from tests.integration.real_cluster import real_cluster
from tests.unit.cluster.exported_code import exported, with_file

RAY = str(Path(sys.executable).with_name("ray"))
TRAIN_LINE = 'log.info("worker %d has started", worker.rank)'
FILE_LINE = 'log.info("this code lies in %s", __file__)'


def test_the_workers_of_an_exported_job_run_the_published_code(rnnjob: Cli) -> None:
    code = client_code()
    text = (Path(__file__).parents[2] / "workers" / "on_ray" / "ray_worker.py").read_text()
    assert TRAIN_LINE in text
    code = with_file(code, "workers/on_ray/ray_worker.py", text.replace(TRAIN_LINE, FILE_LINE))
    short = {"dataset.name": "mnist-sample", "training.epochs": 1}
    manifest = exported(code, str(rnnjob.cwd / "runs"), rnnjob.cwd, **short)
    runtime_env = yaml.safe_load(manifest["spec"]["runtimeEnvYAML"])
    del runtime_env["pip"]  # the nodes have these packages, and a test asks no index
    submit = [RAY, "job", "submit", "--submission-id", "first"]
    submit += ["--runtime-env-json", json.dumps(runtime_env), "--"]
    with real_cluster(rnnjob, 2) as (cli, cluster):
        done = subprocess.run(
            [*submit, *shlex.split(manifest["spec"]["entrypoint"])],
            env={**cli.environment, **cluster["environment"]},
            capture_output=True,
            text=True,
            timeout=2 * ENOUGH_S,
        )
    run = rnnjob.cwd / "runs" / "first"
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((run / "result.json").read_text())["state"] == "SUCCEEDED"
    assert "/py_modules_files/" in (run / "logs" / "worker-0.log").read_text()
