"""The main promise: the job alone decides the result; the workers change only the speed."""

import pytest

from tests.conftest import Cli

# 125 rows per step are not a multiple of 2 or 3 workers. 3,667 training rows are not a multiple of
# 5 shards.
JOB = [
    "submit", "--json", "--dataset", "mnist-sample", "--epochs", "2", "--batch-size", "125",
    "--set", "dataset.num_shards=5", "--set", "model.dropout=0.1", "--set", "augment.shift_px=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def local_weights(module_rnnjob: Cli) -> dict[str, str]:
    """For each precision, the hash of the weights from one process without Ray."""
    found = {}
    for precision in ("fp32", "bf16"):
        done = module_rnnjob(*JOB, "--local", "--precision", precision)
        assert done.exit_code == 0, done.stderr
        assert done.json["precision"] == precision
        found[precision] = done.json["weights_sha256"]
    assert found["fp32"] != found["bf16"]
    return found


@pytest.mark.parametrize(
    ("precision", "workers"),
    [
        pytest.param("fp32", 1, marks=pytest.mark.long),
        ("fp32", 2),
        ("fp32", 3),
        pytest.param("bf16", 2, marks=pytest.mark.long),
        pytest.param("bf16", 3, marks=pytest.mark.long),
    ],
)
def test_ray_with_any_number_of_workers_gives_the_weights_of_one_process(
    module_rnnjob: Cli,
    local_weights: dict[str, str],
    precision: str,
    workers: int,
    no_process_left: None,
) -> None:
    done = module_rnnjob(*JOB, "--workers", str(workers), "--precision", precision)
    assert done.exit_code == 0, done.stderr
    assert done.json["workers"] == workers
    assert done.json["test_rows"] == 1000
    assert [epoch["rows_seen"] for epoch in done.json["data_account"]] == [3667, 3667]
    assert done.json["weights_sha256"] == local_weights[precision]


def test_one_thread_or_three_give_the_same_weights(
    module_rnnjob: Cli, local_weights: dict[str, str]
) -> None:
    for cpus in ("1", "3"):
        done = module_rnnjob(*JOB, "--local", "--precision", "fp32", "--cpus-per-worker", cpus)
        assert done.json["weights_sha256"] == local_weights["fp32"]


def test_another_seed_gives_other_weights(
    module_rnnjob: Cli, local_weights: dict[str, str]
) -> None:
    done = module_rnnjob(*JOB, "--local", "--precision", "fp32", "--seed", "1")
    assert done.json["weights_sha256"] != local_weights["fp32"]
