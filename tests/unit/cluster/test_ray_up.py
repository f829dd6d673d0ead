"""rnnjob cluster up and down with a file for Ray's cluster launcher."""

from pathlib import Path

import pytest

from tests.conftest import ROOT, Cli

OURS = ROOT / "cluster.yaml"


def test_a_file_of_the_wrong_form_is_refused_by_rays_validator(rnnjob: Cli, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(OURS.read_text().replace("\nmax_workers:", "\nmax_wrkers:"))
    done = rnnjob("cluster", "up", str(bad))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "max_wrkers" in done.cause
    assert "cluster.yaml" in done.cure


@pytest.mark.parametrize("verb", ["up", "down"])
def test_a_click_error_of_rays_command_line_is_two_lines_too(
    verb: str, rnnjob: Cli, tmp_path: Path
) -> None:
    (tmp_path / "l.yaml").write_text("cluster_name: x\nprovider: {type: local}\n")
    done = rnnjob("cluster", verb, "l.yaml", "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "head_ip" in done.cause


@pytest.mark.parametrize("content", [None, "a: [", "- a list", "provider: {type: nimbus}"])
def test_a_file_that_is_not_a_cluster_file_is_refused(
    content: str | None, rnnjob: Cli, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "cluster.yaml").write_text(content)
    done = rnnjob("cluster", "up")
    assert done.exit_code == 2
    assert "cluster.yaml" in done.cause


def test_a_failure_of_ray_is_exit_3_with_the_last_line_of_its_output(rnnjob: Cli) -> None:
    try:
        import boto3  # type: ignore[import-not-found]  # noqa: F401
    except ModuleNotFoundError:
        done = rnnjob("cluster", "up", str(OURS))
        assert (done.exit_code, done.stdout) == (3, "")
        assert "Traceback" not in done.stderr
        cause, cure = done.stderr.strip().splitlines()[-2:]
        assert cause.startswith("Error: ray up") and "boto3" in cause
        assert cure.startswith("Try: ")
    else:
        pytest.skip("boto3 is installed: ray up would ask AWS")


@pytest.mark.parametrize(
    "arguments",
    [
        ("x.yaml", "--local"),
        ("--nodes", "2"),
        ("--local", "--nodes", "0"),
        ("--local", "--name", "../x"),
        ("--local", "--name", "x.yaml"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    arguments: tuple[str, ...], rnnjob: Cli, tmp_path: Path
) -> None:
    done = rnnjob("cluster", "up", *arguments, RNNJOB_STATE_DIR=str(tmp_path / "state"))
    assert done.exit_code == 2
    assert done.cause and done.cure
    assert not (tmp_path / "state").exists()


def test_status_and_down_of_no_cluster_are_exit_4(rnnjob: Cli, tmp_path: Path) -> None:
    for verb in ("status", "down"):
        done = rnnjob("cluster", verb, RNNJOB_STATE_DIR=str(tmp_path / "state"))
        assert done.exit_code == 4
        assert "'local'" in done.cause and "up --local" in done.cure
