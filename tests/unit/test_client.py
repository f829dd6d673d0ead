"""The client, and the command line on top of it: the job request and the headers."""

import importlib
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

import orchestrator
from orchestrator import JobSpec, build_spec, runs
from orchestrator.cli import main
from orchestrator.client import Client
from orchestrator.cluster.headers import check_headers, parse_headers
from orchestrator.launch.request import Shipping
from tests.commands import output_of
from tests.conftest import Cli
from tests.unit.recording_cluster import NODE, RecordingCluster, recording_cluster
from workers.errors import ClusterError, InputError
from workers.secrets import PACKAGE, write_package
from workers.storage.storage import Storage

SECRET = "quince-marmalade-4711"
HEADERS = {"X-Proxy-Key": SECRET}
AS_FLAG = ("--headers", json.dumps(HEADERS))
JOB = ("--dataset", "mnist-sample", "--epochs", "1")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingCluster]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(tmp_path / "state"))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RNNJOB_HEADERS", "RAY_JOB_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    with recording_cluster() as cluster:
        yield cluster


def rnnjob(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def sample(**values: Any) -> JobSpec:
    return build_spec(flags={"dataset.name": "mnist-sample", "training.epochs": 1, **values})


def all_had_the_key(cluster: RecordingCluster) -> bool:
    assert cluster.requests
    return all(request.headers.get("X-Proxy-Key") == SECRET for request in cluster.requests)


def test_the_package_exports_exactly_the_names_in_all() -> None:
    objects = {"JobError", "JobSpec", "Report", "Run", "RunStatus"}
    assert set(orchestrator.__all__) == objects | {"build_spec", "list_runs", "open_run", "submit"}
    assert set(orchestrator.__all__) <= set(dir(orchestrator))
    assert orchestrator.Client is Client, "it was public once"
    with pytest.raises(AttributeError, match="no attribute 'Clint'"):
        orchestrator.Clint  # noqa: B018


def test_the_package_imports_nothing_until_a_name_is_used() -> None:
    code = (
        "import sys, orchestrator; assert not {'pydantic', 'pyarrow', 'yaml'} & set(sys.modules)\n"
        "from orchestrator import submit; assert 'pyarrow' in sys.modules\n"
        "assert not {'torch', 'ray', 'click', 'IPython'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_a_job_is_submitted_found_stopped_and_deleted(cluster: RecordingCluster) -> None:
    client = Client("runs", cluster.address)
    run = client.submit(sample(), "r")
    assert [status.run_id for status in client.list_runs()] == ["r"]
    assert client.get_run("@last").storage == run.storage
    assert (client.status("r").state, cluster.jobs) == (runs.QUEUED, {"r": "PENDING"})
    stopped = client.stop("r", force=True)
    assert (stopped.state, client.wait("r").exit_code) == (runs.STOPPED, 5)
    client.delete("r")
    assert (client.list_runs(), cluster.jobs) == ([], {})


def test_a_dry_run_shows_the_request_that_is_then_sent(cluster: RecordingCluster) -> None:
    job = ("submit", "--address", cluster.address, *JOB, "--run-id", "r", "--env", "LEVEL=debug")
    shown = rnnjob(*job, "--dry-run", "--json")
    assert shown.exit_code == 0, shown.stderr
    assert not Path("runs").exists() and cluster.paths("POST") == []
    done = rnnjob(*job, "-d")
    assert (done.exit_code, done.stdout) == (0, "r\n")
    (sent,) = [request.json for request in cluster.requests if request.method == "POST"]
    request = json.loads(shown.stdout)["plan"]["request"]
    for key in ("submission_id", "entrypoint", "metadata"):
        assert sent[key] == request[key]
    assert sent["runtime_env"]["env_vars"]["LEVEL"] == "debug"
    assert request["runtime_env"]["env_vars"]["LEVEL"] == "***"
    assert len(sent["runtime_env"]["py_modules"]) == len(request["runtime_env"]["py_modules"])


def test_each_process_of_a_job_loads_its_secrets(
    cluster: RecordingCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSPHRASE", SECRET)
    done = rnnjob("submit", "--address", cluster.address, *JOB, "-d", "--secret", "PASSPHRASE")
    assert done.exit_code == 0, done.stderr
    (sent,) = [request.json for request in cluster.requests if request.method == "POST"]
    module, _, name = sent["runtime_env"]["worker_process_setup_hook"].rpartition(".")

    monkeypatch.delenv("PASSPHRASE")
    write_package(tmp_path, {"PASSPHRASE": SECRET})
    monkeypatch.syspath_prepend(tmp_path)
    getattr(importlib.import_module(module), name)()  # as Ray does when it starts a process
    assert os.environ["PASSPHRASE"] == SECRET
    monkeypatch.delenv("PASSPHRASE")
    sys.modules.pop(PACKAGE)


def test_a_refused_job_leaves_no_run(
    cluster: RecordingCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client("runs", cluster.address)
    with pytest.raises(InputError, match="does not exist"):
        client.submit(sample(), shipping=Shipping(Path("none")))
    answer = cluster.answer

    def refuse(request: Any) -> tuple[int, Any]:
        return (500, "no room") if request.method == "POST" else answer(request)

    monkeypatch.setattr(cluster, "answer", refuse)
    with pytest.raises(ClusterError, match="no room"):
        client.submit(sample())
    assert client.list_runs() == []


@pytest.mark.parametrize("by", ["flag", "RNNJOB_HEADERS", "RAY_JOB_HEADERS"])
@pytest.mark.slow
def test_every_request_of_every_command_has_the_headers_and_nothing_shows_them(
    cluster: RecordingCluster, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = AS_FLAG if by == "flag" else ()
    if by != "flag":
        monkeypatch.setenv(by, AS_FLAG[1])
    outputs = []
    submit = ("submit", "--address", cluster.address, *JOB, "--run-id", "r")
    for words, code in {
        (*submit, "--dry-run"): 0,
        (*submit, "-d"): 0,
        ("status", "r"): 0,
        ("describe", "r"): 0,
        ("logs", "r"): 0,
        ("wait", "r", "--timeout", "1s"): 124,
        ("why", "r"): 0,
        ("stop", "r", "--force"): 0,
        ("delete", "r", "-y"): 0,
    }.items():
        before = len(cluster.requests)
        done = rnnjob(*words, *given)
        assert done.exit_code == code, done.output
        assert len(cluster.requests) > before, f"{words[0]} sent no request"
        outputs.append(done.output)
        files = [path for path in Path("runs").rglob("*") if path.is_file()]
        assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert all_had_the_key(cluster)
    assert {"POST", "DELETE"} <= {request.method for request in cluster.requests}
    assert SECRET not in "".join(outputs)


def test_the_flag_wins_over_the_environment_and_our_variable_over_rays(
    cluster: RecordingCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.create_run(Storage("runs"), "r", JobSpec().to_yaml(), "cluster", cluster.address)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    monkeypatch.setenv("RAY_JOB_HEADERS", '{"X-Proxy-Key": "rays"}')
    monkeypatch.setenv("RNNJOB_HEADERS", '{"X-Proxy-Key": "ours"}')
    rnnjob("status", "r")
    rnnjob("status", "r", *AS_FLAG)
    assert [request.headers["X-Proxy-Key"] for request in cluster.requests] == ["ours", SECRET]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (SECRET, "not a JSON object"),
        (f'["{SECRET}"]', "a list, not an object"),
        (f'{{"X-Key": ["{SECRET}"]}}', "the value of the header X-Key cannot be sent"),
        (f'{{"X-Key": "{SECRET}\\n"}}', "the value of the header X-Key cannot be sent"),
        (f'{{"X-Key": "{SECRET}ü"}}', "the value of the header X-Key cannot be sent"),
        (f'{{"{SECRET}: x": "y"}}', "the name of one of the headers is not valid"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused_and_not_shown(
    text: str, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (("status", "r"), ("submit", "--address", "http://127.0.0.1:9")):
        done = rnnjob(*words, "--headers", text)
        assert done.exit_code == 2
        assert cause in done.stderr and "Try: " in done.stderr
        assert SECRET not in done.output
    with pytest.raises(InputError) as refused:
        Client("runs", headers=json.loads(text) if text.startswith("{") else {"": SECRET})
    assert SECRET not in str(refused.value)


@given(st.dictionaries(st.text(), st.text()))
def test_headers_are_accepted_unchanged_or_refused(headers: dict[str, str]) -> None:
    """Every accepted header can be sent as it is in a request."""
    try:
        accepted = parse_headers(json.dumps(headers))
    except InputError:
        return
    assert accepted == headers == check_headers(headers)
    for name, value in headers.items():
        line = f"{name}: {value}"
        assert line.encode("ascii").isascii() and len(line.splitlines()) == 1
        assert line.partition(":") == (name, ":", f" {value}")


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """Return the TLS context of a server whose certificate cannot be checked."""
    files = [tmp_path / "key.pem", tmp_path / "certificate.pem"]
    wanted = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("needs openssl to make a certificate")
    command = [openssl, *wanted.split(), "-keyout", str(files[0]), "-out", str(files[1])]
    output_of(command)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    return context


def test_a_certificate_is_checked_unless_no_verify_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, self_signed: ssl.SSLContext
) -> None:
    monkeypatch.chdir(tmp_path)
    with recording_cluster(self_signed) as cluster:
        run = runs.create_run(Storage("runs"), "r", JobSpec().to_yaml(), "cluster", cluster.address)
        cluster.jobs["r"] = "RUNNING"
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)

        def refusal(*flags: str) -> str:
            content = json.loads(rnnjob("describe", "r", "--json", *flags).stdout)
            return str(content["cluster"]["refusal"])

        assert "cannot be checked: self" in refusal() and not cluster.requests
        assert refusal("--no-verify", *AS_FLAG) == ""
        assert all_had_the_key(cluster)
        assert rnnjob("stop", "r", "--force").exit_code == 3
        assert (
            runs.read_status(run).state == runs.QUEUED
        )  # the cluster answers, so the run is not given up
        assert rnnjob("stop", "r", "--force", "--no-verify").exit_code == 0
        assert runs.read_status(run).state == runs.STOPPED


def test_a_folder_of_this_machine_is_refused_as_storage_for_nodes_elsewhere(
    cluster: RecordingCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds even if the dashboard's port is forwarded to this machine."""
    monkeypatch.setitem(NODE, "node_ip", "203.0.113.7")
    done = rnnjob("submit", "--address", cluster.address, *JOB, "-d")
    assert done.exit_code == 2
    assert "is elsewhere: 203.0.113.7" in done.stderr and "--storage s3://" in done.stderr
    assert not Path("runs").exists()


def test_a_working_directory_above_rays_limit_is_refused_and_its_largest_file_named(
    cluster: RecordingCluster, tmp_path: Path
) -> None:
    (tmp_path / "project" / "old").mkdir(parents=True)
    (tmp_path / "project" / "train.py").write_text("pass")
    with open(tmp_path / "project" / "old" / "rows.bin", "wb") as file:
        file.truncate(600 * 2**20)  # sparse: nothing is written
    sent = ("--working-dir", "project", "-d")
    done = rnnjob("submit", "--address", cluster.address, *JOB, *sent)
    assert done.exit_code == 2
    assert "holds 600.0 MiB, above Ray's limit of 512.0 MiB" in done.stderr
    assert "its largest file is old/rows.bin (600.0 MiB)" in done.stderr
    assert "move data out of --working-dir, or list it in .rayignore" in done.stderr
    assert not Path("runs").exists() and not cluster.paths("POST")
    (tmp_path / "project" / ".rayignore").write_text("old\n")
    done = rnnjob("submit", "--address", cluster.address, *JOB, *sent, "--dry-run")
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    "sent",
    [
        ("--env", "A=1"),
        ("--secret", "HOME"),
        ("--working-dir", "."),
        ("--include", "x"),
        ("--env-file", "f"),
    ],
)
@pytest.mark.parametrize("destination", [("--local",), ()])
def test_flags_that_send_something_to_a_cluster_are_refused_without_one(
    destination: tuple[str, ...], sent: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    done = rnnjob("submit", *destination, *sent, "--dry-run")
    assert done.exit_code == 2
    assert f"{sent[0]} applies only to a job on a cluster" in done.stderr


def test_no_colour_is_respected_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", value)
        done = CliRunner().invoke(main, ["show", "nowhere"], color=True)
        assert ("\x1b[" in done.stderr) == coloured


def test_headers_in_the_environment_are_nothing_for_a_job_on_this_machine(rnnjob: Cli) -> None:
    """A variable of `ray job` that cannot be sent must not stop a job that sends nothing."""
    done = rnnjob(
        "submit", "--local", "--dry-run", "--dataset", "mnist-sample", RAY_JOB_HEADERS="not json"
    )
    assert done.exit_code == 0, done.stderr


def test_a_cluster_on_another_operating_system_is_refused_before_anything_is_sent(
    cluster: RecordingCluster,
) -> None:
    cluster.os = "plan9"
    done = rnnjob("submit", "--address", cluster.address, *JOB, "-d")
    assert done.exit_code == 3
    assert done.stderr.splitlines()[-2:] == [
        f"Error: the cluster at {cluster.address} runs on plan9, this client on {sys.platform}",
        "Try: submit from a machine with plan9: the code and its packages are the client's",
    ]
    assert cluster.paths("POST") == cluster.paths("PUT") == [] and not Path("runs").exists()
