"""The RayJob manifest (ray.io/v1) of a job.

KubeRay starts a Ray cluster for the job, runs the job, and removes the cluster. A manifest is a
pure function of its arguments: nothing is read or opened, and no cluster is asked. The manifest
holds the spec as an environment variable of the job, because the run folder is written inside the
cluster, by `orchestrator.driver.kuberay_entry`. Unless an image contains rnnjob, it also says where
the client's code is and what its SHA-256 is (`client_code`).

Each training worker has one pod. The head runs the driver and trains nothing.
"""

import hashlib
import inspect
import math
import posixpath
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

from orchestrator import runs
from orchestrator.cluster.kuberay import code_bootstrap
from orchestrator.cluster.kuberay.client_code import ClientCode
from orchestrator.datasets.options import TABLE_PREFIX
from orchestrator.spec.job_spec import JobSpec
from orchestrator.units import parse_bytes, parse_duration
from workers.errors import InputError

Manifest = dict[str, Any]
JOB_YAML = "RNNJOB_JOB_YAML"
"""The environment variable that holds the spec for `orchestrator.driver.kuberay_entry`."""
BOOTSTRAP = "RNNJOB_BOOTSTRAP"
"""The environment variable that holds the program which fetches the code and checks it."""
RUN_ID = "rnnjob/run-id"
"""The annotation that holds the run's id. Not every id is a valid name of a resource."""

_SHARED = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LONGEST_NAME = 47
"""The most characters of a RayJob's name.

KubeRay appends to it, and the name of a service has 63 characters at most."""
_IMAGE_PYTHON = "py311"
_HEAD_CPUS, _HEAD_MEMORY = 2, "8Gi"
_WORKER_GIB = 4
"""Memory for Python, torch and Ray in a worker's pod, in addition to the rows that it holds."""
_INSTALL_S = 1800
"""Time for pip to install torch and more on a node. Ray's own limits are 600 and 60 s."""
_GRACE_S = 600
"""Time to start the cluster and evaluate the test split, in addition to the job's own limits."""


@dataclass(frozen=True)
class VolumeClaim:
    """A PersistentVolumeClaim that every pod mounts."""

    name: str
    path: str

    @classmethod
    def parse(cls, text: str) -> "VolumeClaim":
        """Parse `NAME:PATH`. Raises InputError."""
        name, _, path = text.partition(":")
        if not _DNS_NAME.fullmatch(name) or not path.startswith("/") or ":" in path:
            raise InputError(
                f"--volume-claim '{text}' is not of the form NAME:PATH",
                "name a PersistentVolumeClaim and where to mount it: team-data:/mnt/rnnjob",
            )
        return cls(name, posixpath.normpath(path))

    def holds(self, path: str) -> bool:
        """Return whether a path is on the mounted volume."""
        path = posixpath.normpath(path)
        return path == self.path or path.startswith(self.path.rstrip("/") + "/")


@dataclass(frozen=True)
class Target:
    """The settings of a manifest that are not in the spec."""

    ray_version: str
    image: str | None = None
    """An image that contains rnnjob. None: Ray's own image, to which the driver brings `code`."""
    code: ClientCode | None = None
    """This client's code for pods of Ray's own image; None with `image`."""
    namespace: str | None = None
    queue: str | None = None
    """The local queue of Kueue that admits the job; None without Kueue."""
    claims: tuple[VolumeClaim, ...] = ()

    def __post_init__(self) -> None:
        assert (self.image is None) != (self.code is None)


def ray_job(spec: JobSpec, run_id: str, target: Target) -> Manifest:
    """Return the manifest of a job. Raises InputError if its pods could not run the job."""
    _check(spec, run_id, target)
    name = resource_name(run_id)
    low, high = spec.scaling.worker_range
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": _metadata(name, run_id, target, elastic=low < high),
        "spec": {
            # The id is the only argument. KubeRay and Ray each pass this line through a shell, and
            # a storage URI can have characters that a shell interprets.
            "entrypoint": f"{_program(target)} {run_id}",
            "jobId": name,
            "runtimeEnvYAML": to_yaml(_runtime_env(spec, target)),
            "shutdownAfterJobFinishes": True,
            # This retry is for a lost head, which ends the driver. Ray Train restarts lost workers.
            # One retry is enough: a job that fails by itself fails again.
            "backoffLimit": min(1, spec.limits.max_failures),
            **_deadline(spec),
            **({"suspend": True} if target.queue else {}),
            "rayClusterSpec": _cluster(spec, target),
        },
    }


def notes(spec: JobSpec, target: Target) -> list[str]:
    """Return what a person should know before applying the manifest, one text per fact."""
    low, high = spec.scaling.worker_range
    texts = []
    if target.code:
        texts.append(
            "pip installs these packages on each node when the job starts, from the package index "
            f"that the nodes use: {', '.join(target.code.requirements)}; an image that contains "
            "rnnjob avoids this: --image"
        )
    if target.queue and low < high:
        texts.append(
            f"Kueue admits a job of {low} to {high} workers only if its feature gate "
            "ElasticJobsViaWorkloadSlices is on; a fixed --workers needs no feature gate"
        )
    return texts


def resource_name(run_id: str) -> str:
    """Return the name of a run's RayJob.

    It is the run's id if that is a valid name, else a similar name made unique by a hash of the id.
    """
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
    """A dumper that writes a text of several lines as a block, so that YAML in YAML is readable."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _check(spec: JobSpec, run_id: str, target: Target) -> None:
    runs.check_run_id(run_id)
    _check_reachable("the storage", "--storage ", spec.storage, target.claims)
    if prepared := spec.dataset.prepared:
        flag = "--set dataset.prepared="
        _check_reachable("the prepared data set", flag, prepared, target.claims)
    elif spec.dataset.is_table:
        name = spec.dataset.name.removeprefix(TABLE_PREFIX)
        others = {"--validation ": spec.dataset.validation, "--test ": spec.dataset.test}
        for flag, uri in {f"--dataset {TABLE_PREFIX}": name, **others}.items():
            if uri:
                _check_reachable("the table", flag, uri, target.claims)
    data_dir = spec.dataset.data_dir
    if data_dir and not any(claim.holds(data_dir) for claim in target.claims):
        raise InputError(
            f"the data folder {data_dir} is on this machine, and the pods are elsewhere",
            "let the cluster download the data set: --set dataset.data_dir=null, or mount a "
            "volume that holds it: --volume-claim NAME:PATH",
        )
    if 0 < spec.scaling.gpus_per_worker < 1:
        raise InputError(
            f"a pod cannot have {spec.scaling.gpus_per_worker:g} of a GPU: Kubernetes gives whole "
            "ones",
            "give each worker one: --gpus-per-worker 1",
        )
    if target.queue is not None and not _LABEL.fullmatch(target.queue):
        raise InputError(
            f"--queue '{target.queue}' cannot be the name of a queue",
            "name a LocalQueue; this lists them: kubectl get localqueues",
        )
    if target.namespace is not None and not re.fullmatch(
        r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", target.namespace
    ):
        raise InputError(
            f"--namespace '{target.namespace}' cannot be the name of a namespace",
            "use lower-case letters, digits and '-'; this lists the namespaces: "
            "kubectl get namespaces",
        )


def _check_reachable(name: str, flag: str, uri: str, claims: tuple[VolumeClaim, ...]) -> None:
    """Raise InputError if not every pod can open a URI. `name`: what the URI is, for the error."""
    parts = urlsplit(uri) if "://" in uri else None
    if parts and parts.scheme != "file":
        if parts.scheme not in _SHARED:
            raise InputError(
                f"{name} {uri} has a scheme that pods cannot reach",
                "use one of " + ", ".join(f"{scheme}://" for scheme in _SHARED),
            )
        return
    path = parts.path if parts else uri
    if not path.startswith("/") or not any(claim.holds(path) for claim in claims):
        raise InputError(
            f"{name} {uri} is local to a node, and the job's pods share no folder there",
            f"name one that all pods can reach: {flag}s3://BUCKET/runs, or a path on a shared "
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
        if elastic:  # Kueue refuses a job that autoscales without this annotation
            annotations["kueue.x-k8s.io/elastic-job"] = "true"
    return {**content, "labels": labels, "annotations": annotations}


def _program(target: Target) -> str:
    if target.code is None:
        return "python -m orchestrator.driver.kuberay_entry"
    # The text has nothing that a shell would interpret within its quotes.
    return f"python -c \"import os; exec(os.environ['{BOOTSTRAP}'])\""


def _runtime_env(spec: JobSpec, target: Target) -> Manifest:
    env_vars = {JOB_YAML: spec.to_yaml()}
    if target.code is None:
        return {"env_vars": env_vars}
    return {
        "pip": list(target.code.requirements),
        "config": {"setup_timeout_seconds": _INSTALL_S},
        "env_vars": {
            **env_vars,
            "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(_INSTALL_S),
            code_bootstrap.STORAGE: spec.storage,
            code_bootstrap.NAME: target.code.name,
            code_bootstrap.SHA256: target.code.sha256,
            BOOTSTRAP: inspect.getsource(code_bootstrap),
        },
    }


def _deadline(spec: JobSpec) -> Manifest:
    """Return the time limit of Kubernetes, which kills the job.

    It is later than the driver's own limit, which ends the job with a checkpoint.
    """
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
        worker["nvidia.com/gpu"] = f"{gpus:g}"
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
        # Requests equal limits, so that Kubernetes does not evict these pods first.
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
