"""The default job on the full MNIST. The test is skipped if the files are missing."""

from pathlib import Path

from tests.conftest import Cli


def test_the_default_preset_reaches_98_5_percent_in_three_epochs(
    rnnjob: Cli, mnist_dir: Path
) -> None:
    done = rnnjob(
        "submit", "--local", "--preset", "default", "--epochs", "3", "--precision", "fp32",
        "--data-dir", str(mnist_dir), "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert done.json["test_rows"] == 10_000
    assert done.json["train_rows_seen"] == 3 * 55_000
    assert done.json["test_accuracy"] >= 0.985
