"""The command `rnnjob export --kuberay`."""

from pathlib import Path
from typing import Any

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import json_option
from orchestrator.cli.options.spec import spec_from, spec_options
from orchestrator.cli.output import echo, print_json
from workers.errors import InputError


@click.command("export", epilog=example("rnnjob export --kuberay --image IMAGE"))
@click.option("--kuberay", is_flag=True, help="Print a RayJob manifest (ray.io/v1) for KubeRay.")
@spec_options
@click.option(
    "--image",
    metavar="IMAGE",
    help="Container image with Ray and rnnjob, recommended for daily work.  [default: Ray's own, "
    "rayproject/ray, for CPUs or GPUs. This client's code is then written into the storage, and "
    "pip installs torch and the like on each node, from the package index that the nodes use]",
)
@click.option(
    "--namespace", metavar="NS", help="Kubernetes namespace; by default kubectl's current one."
)
@click.option(
    "--queue",
    metavar="NAME",
    help="Local queue of Kueue. The job is suspended until Kueue admits it.",
)
@click.option(
    "--volume-claim",
    "claims",
    multiple=True,
    metavar="NAME:PATH",
    help="PersistentVolumeClaim to mount in every pod, for a --storage or --data-dir below PATH; "
    "may be repeated.",
)
@json_option
@click.option("-v", "--verbose", is_flag=True, help="Print the tracebacks of errors.")
@explained
def export_kuberay_command(
    kuberay: bool,
    config: Path | None,
    preset: str | None,
    assignments: tuple[str, ...],
    run_id: str | None,
    image: str | None,
    namespace: str | None,
    queue: str | None,
    claims: tuple[str, ...],
    as_json: bool,
    verbose: bool,
    **flags: Any,
) -> None:
    """Print a job as a manifest for another system. Nothing is started.

    Without --image, this client's code is written to .code in the storage, for the pods.

    \b
    rnnjob export --kuberay --storage s3://BUCKET/runs --workers 4 | kubectl create -f -

    Each worker gets one pod; with --workers MIN:MAX the cluster grows and shrinks. The job writes
    the run folder, so rnnjob list, show and stop work on every machine that can read the storage.
    """
    from importlib import metadata

    from orchestrator import runs
    from orchestrator.cluster.kuberay.client_code import client_code, publish
    from orchestrator.cluster.kuberay.manifest import Target, VolumeClaim, notes, ray_job, to_yaml
    from workers.storage.storage import Storage

    spec = spec_from(config, preset, assignments, flags)
    if spec.model.class_path is not None or spec.env.pip:
        what = "a model of your own" if spec.model.class_path else "env.pip"
        raise InputError(
            f"a manifest cannot carry {what}",
            "submit the job to the cluster that KubeRay runs: rnnjob submit --address URL",
        )
    target = Target(
        ray_version=metadata.version("ray"),
        image=image,
        code=None if image else client_code(),
        namespace=namespace,
        queue=queue,
        claims=tuple(VolumeClaim.parse(text) for text in claims),
    )
    manifest = ray_job(spec, run_id or runs.new_run_id(spec.name), target)
    if target.code:
        mounts = [Path(claim.path) for claim in target.claims]
        where = publish(target.code, Storage(spec.storage), mounts)
        echo(f"note: wrote this client's code to {where}", err=True)
    for note in notes(spec, target):
        echo(f"note: {note}", err=True)
    if as_json:
        print_json(manifest)
    else:
        echo(to_yaml(manifest), nl=False)
