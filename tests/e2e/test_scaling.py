"""rnnjob scaling on Ray of this machine: a curve, from runs like any other."""

import pytest

from tests.conftest import Cli

SMALL = ["--dataset", "mnist-sample", "--set", "model.hidden_size=8",
         "--set", "training.precision=fp32", "--set", "dataset.num_shards=2"]  # fmt: skip


@pytest.mark.long
def test_a_curve_comes_from_runs_with_the_same_weights(rnnjob: Cli) -> None:
    flags = ["--workers", "2,1", "--steps", "12", "--warm-up", "3", "--run-id", "small"]
    done = rnnjob("scaling", *SMALL, *flags, "--json", "-o", "curve.html")
    assert done.exit_code == 0, done.stderr
    found = done.json
    assert found["weights"] == "same" and found["points"][0]["weights_sha256"]
    assert [(p["workers"], p["run_id"], p["steps"]) for p in found["points"]] == [
        (1, "small-workers1", 12),
        (2, "small-workers2", 12),
    ]
    one, two = found["points"]
    assert two["speed_up"] == pytest.approx(two["samples_per_s"] / one["samples_per_s"])
    assert two["step_s"]["exchange"] > one["step_s"]["exchange"]
    assert (rnnjob.cwd / "curve.html").read_text().startswith("<!doctype html>")
    listed = {run["run_id"]: run["workers"] for run in rnnjob("list", "--json").json["runs"]}
    assert listed == {"small-workers1": 1, "small-workers2": 2}
    assert "same" in rnnjob("compare", "small-workers1", "small-workers2").stdout
