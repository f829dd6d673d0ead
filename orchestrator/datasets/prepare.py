"""Cut a data set into Parquet shards, once, and keep them in the cache.

::

    <cache>/prepared/<name>-<key>/
        train-00000-of-00008.parquet  ...   columns image: fixed-size list of uint8, label: uint8
        validation-00000-of-00008.parquet ...
        test-00000-of-00008.parquet ...
        manifest.json                 rows and SHA-256 of each shard, shape and fingerprint of all

The key is a hash of the source files and the arguments of the cut, so a changed source or another
`num_shards` never uses old shards. The folder is created atomically.
"""

import hashlib
import json
import math
import os
import secrets
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orchestrator.datasets.idx import Split
from orchestrator.datasets.prepared import MANIFEST, PreparedData, open_prepared
from orchestrator.datasets.shard_file import shard_name
from orchestrator.datasets.sources import NUM_CLASSES, SAMPLE, Source, find_source
from workers.data.kinds import ClassTarget, DataShape, ImageInput
from workers.errors import DataError, InputError
from workers.shards.order import shard_rows
from workers.storage.storage import Storage

SCHEMA_VERSION = 2
_MNIST_IMAGES_SHA256 = "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757"
"""The SHA-256 of the pixels of MNIST's 60,000 training images."""
_AUTO_VALIDATION = 12
"""`auto` holds out one row in twelve: 5,000 of MNIST's 60,000."""


def default_cache() -> Path:
    """Return the folder RNNJOB_CACHE_DIR, or else `rnnjob` in the user's cache folder (XDG)."""
    if folder := os.environ.get("RNNJOB_CACHE_DIR"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rnnjob"


def prepare(
    name: str,
    data_dir: Path | None = None,
    num_shards: int = 8,
    validation_rows: int | str = "auto",
    standardize: bool = True,
    test_head_rows: int = 0,
    cache: Path | None = None,
    force: bool = False,
) -> PreparedData:
    """Open a prepared data set. It is cut into shards first if that was not done before.

    Args:
        name: a name of `sources.NAMES`.
        data_dir: a folder with the idx files; without it they are downloaded into the cache.
        num_shards: the number of shards of each split.
        validation_rows: how many of the first training rows are held out; "auto" for one in twelve.
        standardize: whether the shape holds the mean and standard deviation of the pixels.
        test_head_rows: see `DataShape`.
        cache: the folder for downloads and shards; by default `default_cache()`.
        force: cut the data set again even if it was cut before.

    Raises:
        DataError: a source file or the manifest is missing or damaged, or the cache cannot be
            written.
        InputError: too many rows are held out, or there are more shards than rows.
    """
    cache = cache or default_cache()
    try:
        source = find_source(name, data_dir, cache)
        key = hashlib.sha256(
            json.dumps([SCHEMA_VERSION, source.digest, num_shards, validation_rows]).encode()
        ).hexdigest()[:12]
        folder = cache / "prepared" / f"{name}-{key}"
        if force or not (folder / MANIFEST).is_file():
            _cut(source, num_shards, validation_rows, folder, force)
    except OSError as error:
        raise DataError(
            f"cannot write the prepared data set below {cache}: {error.strerror or error}",
            "free some space there, or name another folder: RNNJOB_CACHE_DIR",
        ) from error
    flags = ["--dataset", name, "--num-shards", str(num_shards)]
    flags += ["--validation-rows", str(validation_rows)]
    flags += ["--data-dir", str(data_dir)] if data_dir and name != SAMPLE else []
    recut_command = shlex.join(["rnnjob", "data", "prepare", *flags, "--force"])
    return open_prepared(Storage(str(folder)), standardize, test_head_rows, recut_command)


def _cut(
    source: Source, num_shards: int, validation_rows: int | str, folder: Path, force: bool
) -> None:
    train, test = source.read()
    _check_is_not_mnist(source.name, train)
    num_held_out = (
        len(train.labels) // _AUTO_VALIDATION if validation_rows == "auto" else int(validation_rows)
    )
    if num_held_out >= len(train.labels):
        raise InputError(
            f"validation_rows {num_held_out} leaves nothing of {len(train.labels)} training rows",
            "hold fewer rows out: --set dataset.validation_rows=auto",
        )
    for split in (train, test):
        if (highest := int(split.labels.max())) >= NUM_CLASSES:
            raise DataError(
                f"{source.name} has a label {highest}, above {NUM_CLASSES - 1}",
                "check the label files",
            )
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"{source.name} has training images of {train.images.shape[1:]} pixels and test images "
            f"of {test.images.shape[1:]}",
            "take all four files from the same data set",
        )
    splits = {
        "train": Split(train.images[num_held_out:], train.labels[num_held_out:]),
        "validation": Split(train.images[:num_held_out], train.labels[:num_held_out]),
        "test": test,
    }
    if len(splits["train"].labels) < num_shards:
        raise InputError(
            f"{len(splits['train'].labels)} training rows do not fill {num_shards} shards",
            "take fewer shards: --set dataset.num_shards=1",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    scratch.mkdir()  # mkdtemp's folder would be private, whatever the umask
    try:
        _write(source.name, splits, num_shards, scratch)
        _move_into_place(scratch, folder, force)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _move_into_place(scratch: Path, folder: Path, force: bool) -> None:
    """Rename the scratch folder to its final name.

    If another process made the same cut at the same time, keep the folder of that process: its
    bytes are equal, and other processes may be reading them by now.
    """
    try:
        scratch.rename(folder)
        return
    except OSError:  # the folder exists and is not empty
        if not force and (folder / MANIFEST).is_file():
            return
    aside = scratch.with_name(f"{scratch.name}-old")
    folder.rename(aside)
    try:
        scratch.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _check_is_not_mnist(name: str, train: Split) -> None:
    """Raise DataError if the files given for another data set are those of MNIST.

    The data sets share their file names, so their folders are easily confused.
    """
    if name in ("mnist", SAMPLE):
        return
    if hashlib.sha256(train.images.tobytes()).hexdigest() == _MNIST_IMAGES_SHA256:
        raise DataError(
            f"the files given for {name} are those of mnist",
            f"name the folder of {name}: --data-dir (or RNNJOB_DATA_DIR), or one above it "
            f"that has them in {name}/",
        )


def _write(name: str, splits: dict[str, Split], num_shards: int, folder: Path) -> None:
    height, width = splits["train"].images.shape[1:]
    shards: dict[str, list[dict[str, Any]]] = {}
    fingerprint = hashlib.sha256()
    for split, rows in splits.items():
        shards[split] = []
        for shard in range(num_shards):
            index = np.array(shard_rows(len(rows.labels), num_shards, shard), dtype=np.int64)
            images, labels = rows.images[index], rows.labels[index]
            fingerprint.update(f"{split}/{shard}/{images.shape}".encode())
            fingerprint.update(images.tobytes())
            fingerprint.update(labels.tobytes())
            file = shard_name(split, shard, num_shards)
            pq.write_table(_table(images, labels), folder / file, compression="zstd")
            digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
            shards[split].append({"file": file, "rows": len(labels), "sha256": digest})
    mean, std = _pixel_moments(splits["train"].images)
    shape = DataShape(
        name=name,
        fingerprint=fingerprint.hexdigest(),
        num_shards=num_shards,
        input=ImageInput(height=height, width=width, mean=mean, std=std),
        target=ClassTarget(
            column="label",
            names=tuple(map(str, range(NUM_CLASSES))),
            train_counts=tuple(np.bincount(splits["train"].labels, minlength=NUM_CLASSES).tolist()),
        ),
        train_rows=len(splits["train"].labels),
        validation_rows=len(splits["validation"].labels),
        test_rows=len(splits["test"].labels),
    )
    manifest = {"schema_version": SCHEMA_VERSION, "shape": shape.model_dump(), "shards": shards}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def _pixel_moments(images: NDArray[np.uint8]) -> tuple[float, float]:
    """Return mean and standard deviation of pixels scaled to [0, 1], from exact integer sums."""
    counts = np.bincount(images.reshape(-1), minlength=256).tolist()
    total = sum(counts)
    mean = sum(n * value for value, n in enumerate(counts)) / total
    variance = sum(n * value * value for value, n in enumerate(counts)) / total - mean * mean
    return mean / 255, math.sqrt(variance) / 255 or 1.0


def _table(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> pa.Table:
    pixels = images.shape[1] * images.shape[2]
    flat = pa.array(images.reshape(-1), pa.uint8())
    return pa.table(
        {"image": pa.FixedSizeListArray.from_arrays(flat, pixels), "label": pa.array(labels)}
    )
