"""RayJob manifests: they are valid by the schema of the CRD, and they match the spec."""

import copy
import gzip
import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement

from orchestrator import runs
from orchestrator.cluster.kuberay import code_bootstrap
from orchestrator.cluster.kuberay.client_code import ClientCode, client_code
from orchestrator.cluster.kuberay.manifest import (
    BOOTSTRAP,
    JOB_YAML,
    RUN_ID,
    Target,
    VolumeClaim,
    notes,
    ray_job,
    resource_name,
    to_yaml,
)
from orchestrator.driver import kuberay_entry
from orchestrator.spec.build import build_spec, load_spec
from orchestrator.spec.job_spec import JobSpec
from tests.conftest import ROOT
from workers.errors import InputError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

SCHEMA = ROOT.parent / "shared" / "schemas" / "rayjob-v1.openapi.json.gz"
CLAIM = VolumeClaim("team-data", "/mnt/rnnjob")
CODE = ClientCode(b"a wheel", ("numpy==2.4.6", "torch==2.14.1"))
Manifest = dict[str, Any]

SPECS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "defaults": ({}, {}),
    "workers": ({"scaling.workers": 4, "scaling.cpus_per_worker": 2}, {}),
    "elastic": ({"scaling.workers": "2:6"}, {}),
    "gpus": ({"scaling.workers": 2, "scaling.gpus_per_worker": 1}, {}),
    "limits": ({"limits.time": "2h30m", "limits.max_failures": 0}, {}),
    "queue": ({"scaling.workers": "1:2"}, {"queue": "team-a", "namespace": "training"}),
    "image": ({}, {"image": "registry.example/rnnjob:1"}),
    "claim": ({"storage": "/mnt/rnnjob/runs"}, {"claims": (CLAIM, VolumeClaim("b", "/b"))}),
    "text": ({"name": "job", "dataset.data_dir": None, "training.seed": 7}, {}),
}


def job(name: str, run_id: str = "first") -> Manifest:
    flags, more = SPECS[name]
    return ray_job(spec(**flags), run_id, target(**more))


def spec(**flags: Any) -> JobSpec:
    return build_spec(flags={"storage": "s3://bucket/runs", **flags})


def target(**more: Any) -> Target:
    """Return a target whose pods have Ray's own image, if `more` names no other image."""
    code = None if "image" in more else CODE
    return Target(**{"ray_version": "2.60.0", "code": code, **more})


def strict(schema: Any) -> Any:
    """Translate the OpenAPI v3 schema of a CRD to JSON Schema. As in the API server, unknown fields
    are refused."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    translated = {k: strict(v) for k, v in schema.items() if not k.startswith("x-kubernetes-")}
    if isinstance(schema.get("properties"), dict):
        # These keys are field names, so a field called `properties` is not a keyword.
        translated["properties"] = {k: strict(v) for k, v in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            translated.setdefault("additionalProperties", False)
    if translated.pop("nullable", False):
        translated["type"] = [translated["type"], "null"]
    return translated


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    if not SCHEMA.is_file():
        pytest.skip(f"needs the schema of the RayJob CRD, {SCHEMA}")
    schema = strict(json.loads(gzip.decompress(SCHEMA.read_bytes())))
    # The API server itself checks the metadata of every object. The CRD only says `object`.
    text = {"type": "object", "additionalProperties": {"type": "string"}}
    fields = {"name": {"type": "string"}, "namespace": {"type": "string"}}
    schema["properties"]["metadata"] = {
        "type": "object",
        "properties": {**fields, "labels": text, "annotations": text},
        "required": ["name"],
        "additionalProperties": False,
    }
    return jsonschema.Draft202012Validator({**schema, "required": ["kind", "metadata", "spec"]})


@pytest.mark.parametrize("name", SPECS)
def test_a_manifest_is_valid_by_the_schema_of_the_crd(
    name: str, validator: jsonschema.Draft202012Validator
) -> None:
    manifest = yaml.safe_load(to_yaml(job(name)))
    assert manifest == job(name)
    assert [error.message for error in validator.iter_errors(manifest)] == []


def mapping_paths(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all mappings in nested content."""
    if isinstance(content, list):
        return [p for i, part in enumerate(content) for p in mapping_paths(part, (*path, i))]
    if not isinstance(content, dict):
        return []
    return [path, *(p for key, part in content.items() for p in mapping_paths(part, (*path, key)))]


def value_at(content: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        content = content[key]
    return content


def test_the_validation_refuses_an_unknown_field_wherever_it_is(
    validator: jsonschema.Draft202012Validator,
) -> None:
    free = ("labels", "annotations", "rayStartParams", "requests", "limits")
    places = [path for path in mapping_paths(job("claim")) if not path or path[-1] not in free]
    assert len(places) > 15
    for path in places:
        wrong = copy.deepcopy(job("claim"))
        value_at(wrong, path)["workerz"] = 1
        assert not validator.is_valid(wrong), path


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "backoffLimit"), "1"),
        (("spec", "suspend"), "yes"),
        (("spec", "entrypoint"), ["python"]),
        (("spec", "rayClusterSpec", "rayVersion"), 2.6),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams"), {"num-cpus": 0}),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "replicas"), "2"),
        (("metadata", "labels"), {"a": 1}),
    ],
)
def test_the_validation_refuses_a_wrong_type(
    path: tuple[Any, ...], value: Any, validator: jsonschema.Draft202012Validator
) -> None:
    wrong = job("workers")
    value_at(wrong, path[:-1])[path[-1]] = value
    assert not validator.is_valid(wrong)


def test_the_validation_refuses_a_missing_field(
    validator: jsonschema.Draft202012Validator,
) -> None:
    for path in [
        ("spec", "rayClusterSpec", "headGroupSpec"),
        ("spec", "rayClusterSpec", "workerGroupSpecs", 0, "maxReplicas"),
        ("metadata", "name"),
    ]:
        wrong = job("workers")
        del value_at(wrong, path[:-1])[path[-1]]
        assert not validator.is_valid(wrong), path


def cluster(manifest: Manifest) -> Manifest:
    cluster_spec: Manifest = manifest["spec"]["rayClusterSpec"]
    return cluster_spec


def worker_group(manifest: Manifest) -> Manifest:
    (only_group,) = cluster(manifest)["workerGroupSpecs"]
    return dict(only_group)


def container(group: Manifest) -> Manifest:
    (only_container,) = group["template"]["spec"]["containers"]
    return dict(only_container)


def test_the_environment_of_the_job_holds_the_whole_spec() -> None:
    environment = yaml.safe_load(job("text")["spec"]["runtimeEnvYAML"])
    text = environment["env_vars"][JOB_YAML]
    assert load_spec(text, "here") == spec(**SPECS["text"][0])
    assert job("image", "run_1")["spec"]["entrypoint"] == (
        "python -m orchestrator.driver.kuberay_entry run_1"
    )
    assert job("text", "run_1")["spec"]["entrypoint"].endswith(" run_1")


def test_each_worker_has_one_pod_with_the_resources_of_the_spec() -> None:
    workers = worker_group(job("workers"))
    assert (workers["replicas"], workers["minReplicas"], workers["maxReplicas"]) == (4, 4, 4)
    assert workers["rayStartParams"]["num-cpus"] == "2"
    assert container(workers)["resources"]["limits"] == {"cpu": "2", "memory": "6Gi"}
    assert "enableInTreeAutoscaling" not in cluster(job("workers"))
    assert cluster(job("workers"))["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def test_a_range_of_workers_turns_the_autoscaler_on() -> None:
    workers = worker_group(job("elastic"))
    assert (workers["replicas"], workers["minReplicas"], workers["maxReplicas"]) == (2, 2, 6)
    assert cluster(job("elastic"))["enableInTreeAutoscaling"] is True


def test_gpus_are_limits_of_the_workers_and_not_of_the_head() -> None:
    manifest = job("gpus")
    assert container(worker_group(manifest))["resources"]["limits"]["nvidia.com/gpu"] == "1"
    head = container(cluster(manifest)["headGroupSpec"])
    assert "nvidia.com/gpu" not in head["resources"]["limits"]
    assert head["image"] == container(worker_group(manifest))["image"]
    assert head["image"] == "rayproject/ray:2.60.0-py311-gpu"
    assert container(worker_group(job("defaults")))["image"] == "rayproject/ray:2.60.0-py311-cpu"


@pytest.mark.parametrize("name", SPECS)
def test_no_pod_installs_a_package_called_rnnjob(name: str) -> None:
    more = {**SPECS[name][1], **({} if name == "image" else {"code": client_code()})}
    manifest = ray_job(spec(**SPECS[name][0]), "first", target(**more))
    environment = yaml.safe_load(manifest["spec"]["runtimeEnvYAML"])
    packages = [Requirement(line) for line in environment.get("pip", [])]
    assert bool(packages) == (name != "image")
    assert "rnnjob" not in {package.name for package in packages}
    assert all([part.operator for part in package.specifier] == ["=="] for package in packages)
    assert "install" not in manifest["spec"]["entrypoint"]


def test_pods_of_rays_own_image_get_the_clients_code_from_the_storage() -> None:
    environment = yaml.safe_load(job("defaults")["spec"]["runtimeEnvYAML"])
    assert environment["pip"] == ["numpy==2.4.6", "torch==2.14.1"]
    variables = environment["env_vars"]
    assert variables[code_bootstrap.STORAGE] == "s3://bucket/runs"
    assert variables[code_bootstrap.NAME] == CODE.name
    assert variables[code_bootstrap.SHA256] == hashlib.sha256(b"a wheel").hexdigest()
    assert variables[BOOTSTRAP] == Path(code_bootstrap.__file__).read_text()
    (note,) = notes(spec(), target())
    assert "numpy==2.4.6, torch==2.14.1" in note and "--image" in note


def test_the_shells_between_kuberay_and_the_pod_leave_the_environment_as_it_is() -> None:
    # KubeRay quotes the environment for a shell, which interprets these within double quotes.
    environment = job("defaults")["spec"]["runtimeEnvYAML"]
    assert not set("`$") & set(environment)


def test_another_image_has_the_code_already() -> None:
    manifest = job("image")
    environment = yaml.safe_load(manifest["spec"]["runtimeEnvYAML"])
    assert list(environment) == ["env_vars"] and list(environment["env_vars"]) == [JOB_YAML]
    assert container(worker_group(manifest))["image"] == "registry.example/rnnjob:1"
    assert notes(spec(), target(image="a")) == []


def test_the_deadline_of_kubernetes_is_later_than_the_jobs_own_limits() -> None:
    assert "activeDeadlineSeconds" not in job("defaults")["spec"]
    limited = job("limits")["spec"]
    assert limited["activeDeadlineSeconds"] == 9000 + 600 + 600
    assert limited["backoffLimit"] == 0
    assert job("defaults")["spec"]["backoffLimit"] == 1
    assert limited["shutdownAfterJobFinishes"] is True


def test_a_queue_suspends_the_job_until_kueue_admits_it() -> None:
    manifest = job("queue")
    assert manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert manifest["metadata"]["namespace"] == "training"
    assert manifest["spec"]["suspend"] is True
    assert "suspend" not in job("defaults")["spec"]
    elastic = notes(spec(**SPECS["queue"][0]), target(queue="team-a", image="a"))
    assert "ElasticJobsViaWorkloadSlices" in elastic[0]


def test_a_volume_claim_is_mounted_in_every_pod() -> None:
    manifest = job("claim")
    for group in (cluster(manifest)["headGroupSpec"], worker_group(manifest)):
        mounts = {m["name"]: m["mountPath"] for m in container(group)["volumeMounts"]}
        claims = {
            v["name"]: v["persistentVolumeClaim"]["claimName"]
            for v in group["template"]["spec"]["volumes"]
        }
        assert {claims[name]: path for name, path in mounts.items()} == {
            "team-data": "/mnt/rnnjob",
            "b": "/b",
        }


@pytest.mark.parametrize(
    "storage",
    ["./runs", "runs", "/tmp/runs", "file:///tmp/runs", "~/runs", "/mnt/rnnjob/../runs",
     "/mnt/rnnjobs"],
)  # fmt: skip
def test_a_storage_that_only_one_node_can_reach_is_refused_with_the_cure(storage: str) -> None:
    with pytest.raises(InputError, match="local to a node") as refused:
        ray_job(spec(storage=storage), "a", target(claims=(CLAIM,)))
    assert refused.value.exit_code == 2
    assert "s3://" in refused.value.cure and "--volume-claim" in refused.value.cure


@pytest.mark.parametrize("storage", ["/mnt/rnnjob", "/mnt/rnnjob/a/b", "file:///mnt/rnnjob/a"])
def test_a_path_on_a_mounted_volume_is_shared(storage: str) -> None:
    assert ray_job(spec(storage=storage), "a", target(claims=(CLAIM,)))


@pytest.mark.parametrize(
    ("flags", "more", "cause"),
    [
        ({"storage": "ftp://host/runs"}, {}, "has a scheme that pods cannot reach"),
        ({"dataset.data_dir": "/home/me/mnist"}, {}, "is on this machine"),
        ({"dataset.prepared": "/home/me/shards"}, {}, "the prepared data set /home/me/shards"),
        ({"dataset.name": "parquet:/home/me/rows"}, {}, "the table /home/me/rows is local"),
        ({"scaling.gpus_per_worker": 0.5}, {}, "a pod cannot have 0.5 of a GPU"),
        ({}, {"queue": "not a queue"}, "cannot be the name of a queue"),
        ({}, {"namespace": "Training"}, "cannot be the name of a namespace"),
    ],
)
def test_a_job_that_the_pods_could_not_run_is_refused(
    flags: dict[str, Any], more: dict[str, Any], cause: str
) -> None:
    with pytest.raises(InputError, match=cause) as refused:
        ray_job(spec(**flags), "a", target(**more))
    assert refused.value.cure
    assert "secret@" not in str(refused.value)


@pytest.mark.parametrize("text", ["data", "data:", "data:mnt", ":/mnt", "A_B:/mnt", "a:/b:/c"])
def test_a_volume_claim_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="NAME:PATH"):
        VolumeClaim.parse(text)
    assert VolumeClaim.parse("data:/mnt/a/") == VolumeClaim("data", "/mnt/a")


def test_every_run_id_becomes_a_name_that_kubernetes_accepts() -> None:
    assert resource_name("mnist-lstm-20260101-000000-abcd") == "mnist-lstm-20260101-000000-abcd"
    draw = random.Random(0)
    letters = "abzAZ059._-"
    ids = ["9", "a" * 128, "A", "a.", "a_", "0" * 47, "a" * 47, "a" * 48]
    ids += ["x" + "".join(draw.choices(letters, k=draw.randint(0, 127))) for _ in range(300)]
    for run_id in ids:
        runs.check_run_id(run_id)
        name = resource_name(run_id)
        assert len(name) <= 47
        assert name[0].isalpha() and name[-1].isalnum()
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert len({resource_name(run_id) for run_id in ids}) == len(set(ids))
    assert job("defaults", "Run_1")["metadata"]["annotations"][RUN_ID] == "Run_1"


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Return a function that starts the entrypoint with a spec.

    It returns the exit code and the URI of the run that was driven, or an empty text.
    """

    def start(driver_exit_code: int = 0, **flags: Any) -> tuple[int, str]:
        wanted = build_spec(flags={"storage": str(tmp_path / "runs"), **flags})
        monkeypatch.setenv(JOB_YAML, wanted.to_yaml())
        driven: list[str] = []

        def drive(uri: str) -> int:
            driven.append(uri)
            return driver_exit_code

        return kuberay_entry.main("first", drive), "".join(driven)

    return start


def test_the_entry_writes_the_run_folder_and_drives_it(
    started: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, uri = started(driver_exit_code=5)
    assert code == 5
    run = RunFolder.at(uri)
    assert run.storage.local_path == tmp_path / "runs" / "first"
    assert runs.read_status(run).state == runs.QUEUED
    assert load_spec(run.storage.read(run.JOB).decode(), "there").storage == str(tmp_path / "runs")


def test_the_entry_continues_a_run_whose_cluster_was_lost(
    started: Callable[..., tuple[int, str]],
) -> None:
    _, uri = started()
    run = RunFolder.at(uri)
    runs.write_status(run, runs.RunStatus("first", runs.RUNNING, "kuberay", host="lost", pid=1))
    resolved = load_spec(run.storage.read(run.JOB).decode(), "there")
    resolved = resolved.with_values({"training.precision": "fp32"})  # as the driver does
    run.storage.write(run.JOB, resolved.to_yaml().encode())
    assert started() == (0, uri)


def test_the_entry_does_not_start_a_run_that_has_ended(
    started: Callable[..., tuple[int, str]],
) -> None:
    _, uri = started()
    run = RunFolder.at(uri)
    for state, code in [(runs.SUCCEEDED, 0), (runs.STOPPED, 124), (runs.FAILED, None)]:
        runs.write_status(run, runs.RunStatus("first", state, exit_code=code))
        assert started() == (1 if code is None else code, "")


def test_the_entry_never_writes_into_the_run_of_another_job(
    started: Callable[..., tuple[int, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    _, uri = started()
    before = RunFolder.at(uri).storage.read(RunFolder.JOB)
    assert started(**{"training.seed": 3}) == (2, "")
    assert "Error: the run 'first' is already in" in capsys.readouterr().err
    assert RunFolder.at(uri).storage.read(RunFolder.JOB) == before


def test_the_entry_without_a_spec_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(JOB_YAML, raising=False)
    assert kuberay_entry.main("first", lambda _: 0) == 2
    assert "holds no spec" in capsys.readouterr().err


def test_a_storage_that_cannot_be_written_ends_the_entry_with_its_cause(
    started: Callable[..., tuple[int, str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    code, uri = started()
    assert (code, uri) == (1, "")
    assert "cannot create" in capsys.readouterr().err
    assert not Storage(str(tmp_path / "runs" / "first")).local_path.exists()  # type: ignore[union-attr]
