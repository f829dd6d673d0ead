"""Bad input: a line with the cause, a line with the cure, the exit code, and no partial files."""

import gzip
import shlex
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.small_disk import mounted

SAMPLE = ("submit", "--local", "--dataset", "mnist-sample", "--epochs", "1")


def nothing_written(rnnjob: Cli) -> bool:
    return not (rnnjob.cwd / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "cause", "cure"),
    [
        (["--set", "training.epohcs=3"], "unknown key 'training.epohcs'", "'training.epochs'"),
        (["--set", "epochs=3"], "unknown key 'epochs'", "did you mean 'training.epochs'?"),
        (["--set", "model.hidden_size=big"], "model.hidden_size is 'big'", "valid integer"),
        (["--set", "model.hidden_size=0"], "model.hidden_size is 0", "greater than or equal to 1"),
        (["--set", "model.cell=mamba"], "model.cell is 'mamba'", "'rnn', 'lstm' or 'gru'"),
        (["--set", "training.seed=1.5"], "training.seed is 1.5", "valid integer"),
        (["--set", "training"], "--set 'training' is not of the form a.b=value", "for example"),
        (["--epochs", "0"], "training.epochs is 0", "greater than or equal to 1"),
        (["--epochs", "many"], "'many' is not a valid integer", "rnnjob submit --help"),
        (["--batch-size", "-8"], "training.global_batch_size is -8", "greater than or equal to 1"),
        (["--batch-size", "100"], "100 is not a multiple of num_shards 8", "take 96 or 104"),
        (["--lr", "-1"], "training.optimizer.lr is -1.0", "greater than 0"),
        (["--lr", "nan"], "training.optimizer.lr is nan", "finite number"),
        (["--precision", "fp16"], "training.precision is 'fp16'", "'auto', 'fp32' or 'bf16'"),
        (["--time", "5x"], "limits.time is '5x'", "write 90s, 10m or 2h30m"),
        (["--preset", "sed"], "no preset 'sed'", "did you mean 'seed'?"),
        (["--workers", "2"], "--local is one process and takes no --workers", "leave one"),
        (["--run-id", "a/b"], "'a/b' cannot be a run id", "letters, digits"),
        (["--run-id", "../up"], "'../up' cannot be a run id", "letters, digits"),
        (["--run-id", ""], "'' cannot be a run id", "letters, digits"),
        (["--dataset", "imagenet"], "no data set 'imagenet'", "mnist-sample"),
        (["-c", "none.yaml"], "cannot read none.yaml", "-c/--config"),
        (["--set", "dataset.validation_rows=4000"], "leaves nothing of 4000", "auto"),
        (["--set", "dataset.memory_budget=1KiB"], "above dataset.memory_budget 1.0 KiB", "MiB"),
        (["--storage", "nowhere://x"], "cannot open nowhere://x", "--storage"),
        (["--storage", "/proc/none"], "cannot create /proc/none", "--storage"),
        (["--storage", "s3://me:word@b/runs", "--print-config"], "s3://***@b", "AWS_SECRET"),
        (["--no-such-flag"], "No such option", "rnnjob submit --help"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_request_is_refused_before_anything_is_written(
    rnnjob: Cli, arguments: list[str], cause: str, cure: str
) -> None:
    done = rnnjob(*SAMPLE, *arguments)
    assert done.exit_code == 2
    assert cause in done.cause
    assert cure in done.cure
    assert nothing_written(rnnjob)


@pytest.mark.parametrize(
    ("workers", "cause", "cure"),
    [
        ("9", "workers 9 is above num_shards 8", "dataset.num_shards=16"),
        ("0", "scaling.workers is '0'", "at least 1"),
        ("3:2", "scaling.workers is '3:2'", "at most MAX"),
        ("two", "scaling.workers is 'two'", "MIN:MAX"),
    ],
)
def test_a_bad_number_of_workers_is_refused(
    rnnjob: Cli, workers: str, cause: str, cure: str
) -> None:
    done = rnnjob("submit", "--dataset", "mnist-sample", "--workers", workers)
    assert done.exit_code == 2
    assert cause in done.cause and cure in done.cure
    assert nothing_written(rnnjob)


@pytest.mark.parametrize("how", [("--local",), ("--workers", "1")])
def test_a_gpu_that_is_not_there_is_refused_with_6(rnnjob: Cli, how: tuple[str, ...]) -> None:
    gpu = ("--gpus-per-worker", "1")
    done = rnnjob("submit", "--dataset", "mnist-sample", *how, *gpu, CUDA_VISIBLE_DEVICES="")
    assert done.exit_code == 6
    assert "this machine" in done.cause and "--gpus-per-worker 0" in done.cure
    assert nothing_written(rnnjob)


@pytest.mark.parametrize(
    "text", ["training: [1", "- a", "training: {epohcs: 1}", "a: &x [*x]", "\0"]
)
def test_a_bad_spec_file_is_refused(rnnjob: Cli, text: str) -> None:
    (rnnjob.cwd / "job.yaml").write_text(text)
    done = rnnjob(*SAMPLE, "-c", "job.yaml")
    assert done.exit_code == 2
    assert "job.yaml" in done.cause or "'a'" in done.cause
    assert nothing_written(rnnjob)


def _write_idx(folder: Path, stem: str, shape: tuple[int, ...]) -> Path:
    path = folder / f"{stem}-idx{len(shape)}-ubyte.gz"
    size = 1
    for n in shape:
        size *= n
    data = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(size)
    path.write_bytes(gzip.compress(data))
    return path


@pytest.fixture
def idx_dir(tmp_path: Path) -> Path:
    """A folder with a tiny data set in the format of MNIST. All its bytes are zero."""
    folder = tmp_path / "idx"
    folder.mkdir()
    for split, rows in (("train", 120), ("t10k", 20)):
        _write_idx(folder, f"{split}-images", (rows, 28, 28))
        _write_idx(folder, f"{split}-labels", (rows,))
    return folder


def _check_refused(rnnjob: Cli, folder: Path, cause: str, cure: str) -> None:
    for command in (("submit", "--local"), ("data", "prepare")):
        done = rnnjob(*command, "--dataset", "mnist", "--data-dir", str(folder))
        assert done.exit_code == 2
        assert cause in done.cause and cure in done.cure
    assert nothing_written(rnnjob)


def test_idx_files_are_cut_and_trained_on(rnnjob: Cli, idx_dir: Path) -> None:
    done = rnnjob("submit", "--local", "--data-dir", str(idx_dir), "--epochs", "1", "--json")
    assert done.exit_code == 0, done.stderr
    assert done.json["test_rows"] == 20 and done.json["train_rows_seen"] == 110


def test_a_missing_idx_file_is_named(rnnjob: Cli, idx_dir: Path) -> None:
    (idx_dir / "t10k-labels-idx1-ubyte.gz").unlink()
    _check_refused(rnnjob, idx_dir, "lacks t10k-labels-idx1-ubyte", "mnist-sample")


def test_a_missing_folder_is_named(rnnjob: Cli, tmp_path: Path) -> None:
    _check_refused(rnnjob, tmp_path / "none", "does not exist", "--data-dir")


def test_a_truncated_idx_file_is_named(rnnjob: Cli, idx_dir: Path) -> None:
    path = idx_dir / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-100]))
    cause = "train-images-idx3-ubyte.gz is truncated: 93,996 of the 94,096 bytes"
    _check_refused(rnnjob, idx_dir, cause, "complete copy")
    path.write_bytes(path.read_bytes()[:-20])
    _check_refused(rnnjob, idx_dir, "train-images-idx3-ubyte.gz is truncated", "complete copy")


def test_a_wrong_magic_number_is_reported(rnnjob: Cli, idx_dir: Path) -> None:
    (idx_dir / "train-labels-idx1-ubyte.gz").write_bytes(b"\x00\x00\x0d\x01" + bytes(100))
    _check_refused(rnnjob, idx_dir, "magic number 0x00000d01, not 0x00000801", "complete copy")


def test_images_and_labels_of_different_length_are_reported(rnnjob: Cli, idx_dir: Path) -> None:
    _write_idx(idx_dir, "train-labels", (119,))
    _check_refused(
        rnnjob, idx_dir, "holds 120 images, but train-labels-idx1-ubyte.gz 119 labels", "same"
    )


def test_files_of_mnist_are_not_taken_for_another_data_set(rnnjob: Cli, mnist_dir: Path) -> None:
    for name in ("fashion-mnist", "kmnist"):
        done = rnnjob("data", "prepare", "--dataset", name, "--data-dir", str(mnist_dir))
        assert done.exit_code == 2
        assert f"the files given for {name} are those of mnist" in done.cause


def test_a_download_without_network_names_the_alternatives(rnnjob: Cli) -> None:
    # No proxy listens at this port, so there is no network, wherever the test runs.
    proxy = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    done = rnnjob("submit", "--local", "--dataset", "kmnist", **proxy)
    assert done.exit_code == 2
    assert done.cause.startswith("cannot download kmnist: ")
    assert "--data-dir" in done.cure and "mnist-sample" in done.cure
    assert nothing_written(rnnjob)


def test_a_shard_that_changed_is_found_and_cut_again_on_demand(rnnjob: Cli, tmp_path: Path) -> None:
    cache = {"RNNJOB_CACHE_DIR": str(tmp_path / "cache")}
    shards = ("--num-shards", "4")
    prepared = rnnjob("data", "prepare", "--dataset", "mnist-sample", *shards, "--json", **cache)
    shard = Path(prepared.json["folder"]) / prepared.json["shards"]["train"][3]["file"]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    done = rnnjob(*SAMPLE, "--set", "dataset.num_shards=4", **cache)
    assert done.exit_code == 2
    assert f"the shard {shard} does not match its manifest" in done.cause
    assert nothing_written(rnnjob)
    command = shlex.split(done.cure.removeprefix("cut the data set again: "))
    assert command[:3] == ["rnnjob", "data", "prepare"]
    assert rnnjob(*command[1:], **cache).exit_code == 0
    again = rnnjob(*SAMPLE, "--set", "dataset.num_shards=4", **cache)
    assert again.exit_code == 0


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of a file system of 200 KiB."""
    with mounted(tmp_path / "disk", "size=200k") as disk:
        yield disk


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", "ro") as disk:
        yield disk


def test_a_disk_that_fills_up_fails_the_run_with_its_cause(rnnjob: Cli, tiny_disk: Path) -> None:
    done = rnnjob(*SAMPLE, "--storage", str(tiny_disk), "--run-id", "r", "-q")
    assert done.exit_code == 1
    assert "cannot write" in done.cause and "No space left on device" in done.cause
    assert "--storage" in done.cure
    assert not list(tiny_disk.rglob("manifest.json"))  # no checkpoint that looks complete
    assert not (tiny_disk / "r" / "model.safetensors").exists()


def test_a_full_disk_is_refused_and_left_as_it_was(rnnjob: Cli, tiny_disk: Path) -> None:
    (tiny_disk / "ballast").write_bytes(bytes(200 * 1024))
    done = rnnjob(*SAMPLE, "--storage", str(tiny_disk))
    assert done.exit_code == 2
    assert "No space left on device" in done.cause
    assert [path.name for path in tiny_disk.iterdir()] == ["ballast"]


def test_a_read_only_disk_is_refused(rnnjob: Cli, read_only_disk: Path) -> None:
    done = rnnjob(*SAMPLE, "--storage", str(read_only_disk))
    assert done.exit_code == 2
    assert "Read-only file system" in done.cause


@pytest.mark.parametrize("verb", ["show", "stop", "resume"])
def test_an_unknown_run_ends_with_4(rnnjob: Cli, verb: str) -> None:
    for name in ("nope", "@last", "../x"):
        done = rnnjob(verb, name)
        assert done.exit_code == 4
        assert "rnnjob list" in done.cure


def test_training_that_diverges_is_a_failed_job_with_a_cure(rnnjob: Cli) -> None:
    done = rnnjob(
        *SAMPLE, "--epochs", "5", "--lr", "1e37", "--set", "training.gradient_clip=0",
        "--set", "training.optimizer.name=sgd", "--run-id", "d", "-q",
    )  # fmt: skip
    assert done.exit_code == 1
    assert "training diverged at step" in done.cause
    assert "--lr" in done.cure
    result = rnnjob("show", "d", "--json").json["result"]
    assert result["state"] == "FAILED" and result["test_accuracy"] is None
