"""The commands that send a working directory: what they show is what the cluster is sent."""

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from orchestrator import Client, build_spec
from orchestrator.cli import main
from orchestrator.launch.request import Shipping
from tests.unit.launch.trees import SENT, full_tree, write
from tests.unit.recording_cluster import RecordedRequest, RecordingCluster, recording_cluster
from workers.errors import InputError

JOB = ("--dataset", "mnist-sample", "--epochs", "1", "--run-id", "r")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingCluster]:
    """A cluster that has no package yet, and a current folder with everything in it."""
    monkeypatch.chdir(full_tree(tmp_path / "project"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("RNNJOB_STORAGE", str(tmp_path / "storage"))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RNNJOB_HEADERS", "RAY_JOB_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    with recording_cluster() as cluster:
        answer = cluster.answer

        def has_no_package(request: RecordedRequest) -> tuple[int, Any]:
            code, content = answer(request)
            is_question = request.method == "GET" and request.path.startswith("/api/packages/")
            return (404, {}) if is_question else (code, content)

        monkeypatch.setattr(cluster, "answer", has_no_package)
        yield cluster


def submit(cluster: RecordingCluster, *flags: str) -> Result:
    words = ("submit", "--address", cluster.address, *JOB, "--working-dir", ".", *flags)
    return CliRunner().invoke(main, words)


def sent_archive(cluster: RecordingCluster) -> dict[str, int]:
    """Return the files and their sizes in the package that the job was told to start in."""
    (job,) = [r.json for r in cluster.requests if r.method == "POST"]
    package = job["runtime_env"]["working_dir"].removeprefix("gcs://")
    (upload,) = [r for r in cluster.requests if r.method == "PUT" and r.path.endswith(package)]
    with zipfile.ZipFile(io.BytesIO(upload.body)) as archive:
        return {info.filename: info.file_size for info in archive.infolist()}


def test_the_cluster_is_sent_what_the_dry_run_lists_and_nothing_else(
    cluster: RecordingCluster,
) -> None:
    shown = submit(cluster, "--dry-run", "--json", "--include", "tls/*.pem")
    assert shown.exit_code == 0 and cluster.paths("PUT") == []
    request = json.loads(shown.stdout)["plan"]["request"]
    listed = {file["path"]: file["num_bytes"] for file in request["working_dir"]["files"]}
    assert listed.keys() == {*SENT, "out/", "tls/server.pem"}
    upload = request["uploads"][-1]
    assert upload["path"] == request["runtime_env"]["working_dir"] == str(Path.cwd())
    assert upload["num_bytes"] == sum(listed.values())
    assert upload["num_files"] == len(listed) - 1, "the empty folder is no file"
    done = submit(cluster, "-d", "--include", "tls/*.pem")
    assert (done.exit_code, done.stdout) == (0, "r\n"), done.stderr
    assert sent_archive(cluster) == listed


def test_our_packages_are_sent_whole_whatever_is_left_out_of_the_folder(
    cluster: RecordingCluster,
) -> None:
    """Ray would apply `excludes` to them, too: `runs` is also the name of a room."""
    request = json.loads(submit(cluster, "--dry-run", "--json").stdout)["plan"]["request"]
    submit(cluster, "-d")
    sizes = set()
    for upload in cluster.requests:
        if upload.method == "PUT":
            with zipfile.ZipFile(io.BytesIO(upload.body)) as archive:
                sizes.add(sum(info.file_size for info in archive.infolist()))
    assert sizes == {upload["num_bytes"] for upload in request["uploads"]}


def test_a_dry_run_says_in_80_columns_what_is_sent_and_what_is_left_out(
    cluster: RecordingCluster,
) -> None:
    lines = submit(cluster, "--dry-run").stdout.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("#   sent from "))
    note = lines[start:]
    assert 3 <= len(note) <= 10 and max(map(len, note)) <= 80
    assert f": {len(SENT)} files, " in note[0] and "largest: " in note[1]
    assert note[2].startswith("#     left out: .docker/, .env, ")
    assert note[3] == "#     left out: runs/ (cut data set, run folder)"
    assert "--include PATTERN" in note[-1]
    assert "environment.py" not in "".join(lines), "all names are listed only with --json"


def test_a_submission_says_on_stderr_what_it_sends_unless_it_is_quiet(
    cluster: RecordingCluster,
) -> None:
    done = submit(cluster, "-d")
    assert done.stderr.startswith("sent from ") and " (secret)\n" in done.stderr
    CliRunner().invoke(main, ["stop", "r", "--force"])
    again = CliRunner().invoke(
        main, ["resume", "r", "--address", cluster.address, "--working-dir", ".", "-d", "-q"]
    )
    assert (again.exit_code, again.stdout, again.stderr) == (0, "r\n", "")


def test_what_was_listed_at_the_check_is_sent_although_a_file_came_since(
    cluster: RecordingCluster,
) -> None:
    spec = build_spec(flags={"dataset.name": "mnist-sample", "training.epochs": 1})
    job = Client("storage", cluster.address).check(spec, "r", Shipping(Path.cwd()))
    write(Path.cwd(), "late.py")
    job.start()
    assert sent_archive(cluster).keys() == {*SENT, "out/"}


def test_a_file_that_went_away_since_the_check_leaves_no_run(cluster: RecordingCluster) -> None:
    spec = build_spec(flags={"dataset.name": "mnist-sample", "training.epochs": 1})
    client = Client("storage", cluster.address)
    job = client.check(spec, "r", Shipping(Path.cwd()))
    Path("train.py").unlink()
    with pytest.raises(InputError, match=r"cannot pack .*train\.py"):
        job.start()
    assert client.list_runs() == [] and cluster.jobs == {}


def test_include_alone_or_without_a_match_is_refused(cluster: RecordingCluster) -> None:
    alone = CliRunner().invoke(
        main, ["submit", "--address", cluster.address, *JOB, "--include", "x"]
    )
    assert alone.exit_code == 2 and "--include needs a folder that is sent" in alone.stderr
    unmatched = submit(cluster, "--include", "no/such/*.pem")
    assert unmatched.exit_code == 2
    assert "--include no/such/*.pem matches nothing in" in unmatched.stderr
    assert not cluster.jobs


def test_a_listing_needs_no_ray(tmp_path: Path) -> None:
    write(tmp_path, ".gitignore", "*.log")
    code = (
        "import sys, pathlib; from orchestrator.launch.upload import list_upload\n"
        "assert 'pathspec' not in sys.modules\n"
        "assert len(list_upload(pathlib.Path(sys.argv[1])).entries) == 1\n"
        "assert 'ray' not in sys.modules and 'pathspec' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
