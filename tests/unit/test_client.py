"""The Python API, and that the command line is made of it: one request, headers on all of them."""

import json
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
from orchestrator import Client, JobSpec, RunStatus, build_spec, runs
from orchestrator.cli import main
from orchestrator.headers import check_headers, parse_headers
from orchestrator.launchers.request import Shipping
from tests.unit.recording_cluster import NODE, RecordingCluster, recording_cluster
from workers.errors import ClusterError, InputError
from workers.storage import Storage

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
    assert cluster.asked
    return all(asked.headers.get("X-Proxy-Key") == SECRET for asked in cluster.asked)


def test_the_package_itself_offers_the_api_and_no_more_than_it_says() -> None:
    assert set(orchestrator.__all__) == {"Client", "JobSpec", "RunStatus", "build_spec"}
    assert set(orchestrator.__all__) <= set(dir(orchestrator))
    assert orchestrator.Client is Client and orchestrator.RunStatus is RunStatus
    with pytest.raises(AttributeError, match="no attribute 'Clint'"):
        orchestrator.Clint  # noqa: B018


def test_the_package_loads_nothing_until_it_is_asked() -> None:
    code = (
        "import sys, orchestrator; assert not {'pydantic', 'pyarrow', 'yaml'} & set(sys.modules)\n"
        "from orchestrator import Client; assert 'pyarrow' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


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
    (sent,) = [asked.json for asked in cluster.asked if asked.method == "POST"]
    request = json.loads(shown.stdout)["plan"]["request"]
    for key in ("submission_id", "entrypoint", "metadata"):
        assert sent[key] == request[key]
    assert sent["runtime_env"]["env_vars"]["LEVEL"] == "debug"
    assert request["runtime_env"]["env_vars"]["LEVEL"] == "***"
    assert len(sent["runtime_env"]["py_modules"]) == len(request["runtime_env"]["py_modules"])


def test_a_job_that_is_refused_leaves_no_run(
    cluster: RecordingCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client("runs", cluster.address)
    with pytest.raises(InputError, match="does not exist"):
        client.submit(sample(), shipping=Shipping(Path("none")))
    answer = cluster.answer

    def refuse(asked: Any) -> tuple[int, Any]:
        return (500, "no room") if asked.method == "POST" else answer(asked)

    monkeypatch.setattr(cluster, "answer", refuse)
    with pytest.raises(ClusterError, match="no room"):
        client.submit(sample())
    assert client.list_runs() == []


@pytest.mark.parametrize("by", ["flag", "RNNJOB_HEADERS", "RAY_JOB_HEADERS"])
def test_every_request_of_every_verb_has_the_headers_and_nothing_shows_them(
    cluster: RecordingCluster, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = AS_FLAG if by == "flag" else ()
    if by != "flag":
        monkeypatch.setenv(by, AS_FLAG[1])
    told = []
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
        before = len(cluster.asked)
        done = rnnjob(*words, *given)
        assert done.exit_code == code, done.output
        assert len(cluster.asked) > before, f"{words[0]} asked nothing"
        told.append(done.output)
        files = [path for path in Path("runs").rglob("*") if path.is_file()]
        assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert all_had_the_key(cluster)
    assert {"POST", "DELETE"} <= {asked.method for asked in cluster.asked}
    assert SECRET not in "".join(told)


def test_the_flag_beats_the_environment_and_ours_beats_that_of_ray(
    cluster: RecordingCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.create_run(Storage("runs"), "r", JobSpec().to_yaml(), "cluster", cluster.address)
    monkeypatch.setenv("RAY_JOB_HEADERS", '{"X-Proxy-Key": "rays"}')
    monkeypatch.setenv("RNNJOB_HEADERS", '{"X-Proxy-Key": "ours"}')
    rnnjob("status", "r")
    rnnjob("status", "r", *AS_FLAG)
    assert [asked.headers["X-Proxy-Key"] for asked in cluster.asked] == ["ours", SECRET]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (SECRET, "no JSON object"),
        (f'["{SECRET}"]', "a list, not an object"),
        (f'{{"X-Key": ["{SECRET}"]}}', "X-Key has a value that no header can have"),
        (f'{{"X-Key": "{SECRET}\\n"}}', "X-Key has a value that no header can have"),
        (f'{{"X-Key": "{SECRET}ü"}}', "X-Key has a value that no header can have"),
        (f'{{"{SECRET}: x": "y"}}', "a name that no header can have"),
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
def test_headers_are_taken_as_they_are_or_refused(headers: dict[str, str]) -> None:
    """What is taken is what a request's own checks let through."""
    try:
        taken = parse_headers(json.dumps(headers))
    except InputError:
        return
    assert taken == headers == check_headers(headers)
    for name, value in headers.items():
        line = f"{name}: {value}"
        assert line.encode("ascii").isascii() and len(line.splitlines()) == 1
        assert line.partition(":") == (name, ":", f" {value}")


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """A certificate that nobody can check."""
    files = [tmp_path / "key.pem", tmp_path / "certificate.pem"]
    wanted = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("needs openssl to make a certificate")
    command = [openssl, *wanted.split(), "-keyout", str(files[0]), "-out", str(files[1])]
    subprocess.run(command, capture_output=True, check=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    return context


def test_a_certificate_is_checked_unless_told_not_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, self_signed: ssl.SSLContext
) -> None:
    monkeypatch.chdir(tmp_path)
    with recording_cluster(self_signed) as cluster:
        run = runs.create_run(Storage("runs"), "r", JobSpec().to_yaml(), "cluster", cluster.address)
        cluster.jobs["r"] = "RUNNING"

        def refusal(*flags: str) -> str:
            content = json.loads(rnnjob("describe", "r", "--json", *flags).stdout)
            return str(content["cluster"]["refusal"])

        assert "cannot be checked: self" in refusal() and not cluster.asked
        assert refusal("--no-verify", *AS_FLAG) == ""
        assert all_had_the_key(cluster)
        assert rnnjob("stop", "r", "--force").exit_code == 3
        assert runs.read_status(run).state == runs.QUEUED  # it answers, so it is not given up
        assert rnnjob("stop", "r", "--force", "--no-verify").exit_code == 0
        assert runs.read_status(run).state == runs.STOPPED


def test_a_folder_of_this_machine_is_no_storage_for_nodes_elsewhere(
    cluster: RecordingCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the dashboard's port was forwarded to this machine."""
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
    "sent", [("--env", "A=1"), ("--secret", "HOME"), ("--working-dir", "."), ("--env-file", "f")]
)
@pytest.mark.parametrize("where", [("--local",), ()])
def test_what_only_a_cluster_is_sent_is_refused_without_one(
    where: tuple[str, ...], sent: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    done = rnnjob("submit", *where, *sent, "--dry-run")
    assert done.exit_code == 2
    assert f"{sent[0]} is for what is sent to a cluster" in done.stderr


def test_no_colour_is_respected_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", value)
        done = CliRunner().invoke(main, ["show", "nowhere"], color=True)
        assert ("\x1b[" in done.stderr) == coloured
