"""A spec as a RayJob manifest (ray.io/v1): KubeRay brings up a Ray cluster for the job, runs it,
and takes the cluster down.

Nothing is read, opened or asked here: a manifest is a function of its arguments. The spec travels
in it, as an environment variable of the job, since the run folder is written in the cluster, by
`orchestrator.kuberay_entry`.

One pod per training worker. The head runs the driver and no training.
"""

import hashlib
import math
import posixpath
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

from orchestrator import __version__, runs
from orchestrator.job_spec import JobSpec
from orchestrator.units import parse_bytes, parse_duration
from workers.errors import InputError

Manifest = dict[str, Any]
JOB_YAML = "RNNJOB_JOB_YAML"
"""Environment variable with the spec, for `orchestrator.kuberay_entry`."""
RUN_ID = "rnnjob/run-id"
"""Annotation with the run's id: a resource's own name cannot hold every id."""

_SHARED = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LONGEST_NAME = 47
"""Of a RayJob: KubeRay appends to it, and a service's name has 63 characters."""
_IMAGE_PYTHON = "py311"
_HEAD_CPUS, _HEAD_MEMORY = 2, "8Gi"
_WORKER_GIB = 4
"""Of Python, torch and Ray in a worker's pod, beside the rows that it holds."""
_INSTALL_S = 1800
"""For pip to install rnnjob with torch on a node; Ray's own limits are 600 and 60 s."""
_GRACE_S = 600
"""For the cluster to come up and the test split to be evaluated, beside the job's own limits."""


@dataclass(frozen=True)
class VolumeClaim:
    """A PersistentVolumeClaim that every pod mounts."""

    name: str
    path: str

    @classmethod
    def parse(cls, text: str) -> "VolumeClaim":
        """Of `NAME:PATH`. Raises InputError."""
        name, _, path = text.partition(":")
        if not _DNS_NAME.fullmatch(name) or not path.startswith("/") or ":" in path:
            raise InputError(
                f"--volume-claim '{text}' is not of the form NAME:PATH",
                "name a PersistentVolumeClaim and where to mount it: team-data:/mnt/rnnjob",
            )
        return cls(name, posixpath.normpath(path))

    def holds(self, path: str) -> bool:
        path = posixpath.normpath(path)
        return path == self.path or path.startswith(self.path.rstrip("/") + "/")


@dataclass(frozen=True)
class Target:
    """What of a manifest is not in the spec."""

    ray_version: str
    image: str | None = None
    """With rnnjob installed; None: Ray's own image, into which pip installs rnnjob at the start."""
    namespace: str | None = None
    queue: str | None = None
    """Kueue's local queue."""
    claims: tuple[VolumeClaim, ...] = ()


def ray_job(spec: JobSpec, run_id: str, target: Target) -> Manifest:
    """The manifest of a job. Raises InputError where its pods could not run it."""
    _check(spec, run_id, target)
    name = resource_name(run_id)
    low, high = spec.scaling.worker_range
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": _metadata(name, run_id, target, elastic=low < high),
        "spec": {
            # Nothing but the id: KubeRay and Ray pass the line through a shell each, and a storage
            # URI has characters that shells read.
            "entrypoint": f"python -m orchestrator.kuberay_entry {run_id}",
            "jobId": name,
            "runtimeEnvYAML": to_yaml(_runtime_env(spec, target)),
            "shutdownAfterJobFinishes": True,
            # For a lost head, which takes the driver along; lost workers are Ray Train's business.
            # One more cluster, not many: a job that fails by itself fails again.
            "backoffLimit": min(1, spec.limits.max_failures),
            **_deadline(spec),
            **({"suspend": True} if target.queue else {}),
            "rayClusterSpec": _cluster(spec, target),
        },
    }


def notes(spec: JobSpec, target: Target) -> list[str]:
    """What a person should know of a manifest before applying it."""
    low, high = spec.scaling.worker_range
    found = []
    if target.image is None:
        found.append(
            f"pip installs rnnjob=={__version__} on each node as the job starts, from the package "
            "index that the nodes use, where it must be; an image that has it needs none: --image"
        )
    if target.queue and low < high:
        found.append(
            f"Kueue admits a job of {low} to {high} workers only where its feature gate "
            "ElasticJobsViaWorkloadSlices is on; a fixed --workers needs no gate"
        )
    return found


def resource_name(run_id: str) -> str:
    """The run's id where a RayJob can have it as name; else one like it, made unique by a hash."""
    name = re.sub(r"[^a-z0-9-]", "-", run_id.lower()).strip("-")
    if not name[0].isalpha():
        name = f"run-{name}"
    if name == run_id and len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - 9].rstrip('-')}-{digest}"


def to_yaml(content: Manifest) -> str:
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=100)


class _Dumper(yaml.SafeDumper):
    """Text of several lines as a block, so that people can read YAML within YAML."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _check(spec: JobSpec, run_id: str, target: Target) -> None:
    runs.check_run_id(run_id)
    _check_reachable("the storage", "--storage ", spec.storage, target.claims)
    if prepared := spec.dataset.prepared:
        flag = "--set dataset.prepared="
        _check_reachable("the prepared data set", flag, prepared, target.claims)
    data_dir = spec.dataset.data_dir
    if data_dir and not any(claim.holds(data_dir) for claim in target.claims):
        raise InputError(
            f"the data folder {data_dir} is on this machine, and the pods are elsewhere",
            "have the cluster download the data set: --set dataset.data_dir=null, or mount a "
            "volume that holds it: --volume-claim NAME:PATH",
        )
    if target.queue is not None and not _LABEL.fullmatch(target.queue):
        raise InputError(
            f"--queue '{target.queue}' cannot be the name of a queue",
            "name a LocalQueue: kubectl get localqueues",
        )
    if target.namespace is not None and not re.fullmatch(
        r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", target.namespace
    ):
        raise InputError(
            f"--namespace '{target.namespace}' cannot be the name of a namespace",
            "use lower-case letters, digits and '-': kubectl get namespaces",
        )


def _check_reachable(what: str, flag: str, uri: str, claims: tuple[VolumeClaim, ...]) -> None:
    """Raises InputError where a URI is not one that every pod can open."""
    parts = urlsplit(uri) if "://" in uri else None
    if parts and parts.scheme != "file":
        if parts.scheme not in _SHARED:
            raise InputError(
                f"{what} {uri} is of no kind that pods can reach",
                "use one of " + ", ".join(f"{scheme}://" for scheme in _SHARED),
            )
        return
    path = parts.path if parts else uri
    if not path.startswith("/") or not any(claim.holds(path) for claim in claims):
        raise InputError(
            f"{what} {uri} is local to a node, and the job's pods share no folder there",
            f"name one that all of them reach: {flag}s3://BUCKET/runs, or a path on a shared "
            f"volume: --volume-claim NAME:/mnt/rnnjob {flag}/mnt/rnnjob/runs",
        )


def _metadata(name: str, run_id: str, target: Target, *, elastic: bool) -> Manifest:
    content: Manifest = {"name": name}
    if target.namespace:
        content["namespace"] = target.namespace
    labels = {"app.kubernetes.io/managed-by": "rnnjob"}
    annotations = {RUN_ID: run_id}
    if target.queue:
        labels["kueue.x-k8s.io/queue-name"] = target.queue
        if elastic:  # without it Kueue refuses a job that autoscales
            annotations["kueue.x-k8s.io/elastic-job"] = "true"
    return {**content, "labels": labels, "annotations": annotations}


def _runtime_env(spec: JobSpec, target: Target) -> Manifest:
    job = {JOB_YAML: spec.to_yaml()}
    if target.image:
        return {"env_vars": job}
    return {
        "pip": [f"rnnjob=={__version__}"],
        "config": {"setup_timeout_seconds": _INSTALL_S},
        "env_vars": {**job, "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(_INSTALL_S)},
    }


def _deadline(spec: JobSpec) -> Manifest:
    """Kubernetes' own limit, behind the driver's: that one ends the job with a checkpoint."""
    if spec.limits.time is None:
        return {}
    pending_s = parse_duration(spec.limits.pending_timeout)
    total_s = parse_duration(spec.limits.time) + pending_s + _GRACE_S
    return {"activeDeadlineSeconds": math.ceil(total_s)}


def _cluster(spec: JobSpec, target: Target) -> Manifest:
    scaling = spec.scaling
    low, high = scaling.worker_range
    gpus = scaling.gpus_per_worker
    cpus = 1 if scaling.cpus_per_worker == "auto" else scaling.cpus_per_worker
    kind = "gpu" if gpus else "cpu"
    image = target.image or f"rayproject/ray:{target.ray_version}-{_IMAGE_PYTHON}-{kind}"
    rows_gib = math.ceil(2 * parse_bytes(spec.dataset.memory_budget) / 2**30)
    worker = {"cpu": str(cpus), "memory": f"{_WORKER_GIB + rows_gib}Gi"}
    if gpus:
        worker["nvidia.com/gpu"] = str(gpus)
    head = {"cpu": str(_HEAD_CPUS), "memory": _HEAD_MEMORY}
    return {
        "rayVersion": target.ray_version,
        **({"enableInTreeAutoscaling": True} if low < high else {}),
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
            "template": _pod("ray-head", image, head, target.claims),
        },
        "workerGroupSpecs": [
            {
                "groupName": "workers",
                "replicas": low,
                "minReplicas": low,
                "maxReplicas": high,
                "rayStartParams": {"num-cpus": str(cpus)},
                "template": _pod("ray-worker", image, worker, target.claims),
            }
        ],
    }


def _pod(
    name: str, image: str, resources: dict[str, str], claims: tuple[VolumeClaim, ...]
) -> Manifest:
    container: Manifest = {
        "name": name,
        "image": image,
        # Requests equal limits: a pod has what it asked for, and is not the first to be evicted.
        "resources": {"requests": dict(resources), "limits": dict(resources)},
    }
    if not claims:
        return {"spec": {"containers": [container]}}
    names = [f"claim-{number}" for number in range(len(claims))]
    container["volumeMounts"] = [
        {"name": name, "mountPath": claim.path} for name, claim in zip(names, claims, strict=True)
    ]
    volumes = [
        {"name": name, "persistentVolumeClaim": {"claimName": claim.name}}
        for name, claim in zip(names, claims, strict=True)
    ]
    return {"spec": {"containers": [container], "volumes": volumes}}
