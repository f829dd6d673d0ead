"""Cuts a data set into Parquet shards, once.

::

    <cache>/prepared/<name>-<key>/
        train-00000-of-00008.parquet  ...   columns image: fixed-size list of uint8, label: uint8
        validation-00000-of-00008.parquet ...
        test-00000-of-00008.parquet ...
        manifest.json                           rows and SHA-256 of each, fingerprint of the whole

The key is drawn from the source's bytes and the way of cutting, so a changed source or another
`num_shards` never meets an old cut. The folder appears whole or not at all.
"""

import hashlib
import json
import math
import os
import shlex
import shutil
import tempfile
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
from workers.config import DataShape
from workers.errors import DataError, InputError
from workers.shards import shard_rows
from workers.storage import Storage

SCHEMA_VERSION = 1
_MNIST_IMAGES_SHA256 = "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757"
"""Of the pixels of MNIST's 60,000 training images."""
_AUTO_VALIDATION = 12
"""`auto` holds out one row in so many: 5,000 of MNIST's 60,000."""


def default_cache() -> Path:
    """RNNJOB_CACHE_DIR, or rnnjob in the user's cache folder (XDG)."""
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
    """Opens the prepared data set, cutting it first where there is no such cut yet.

    Args:
        standardize: whether the shape carries the pixels' mean and standard deviation.
        validation_rows: the first rows of the training split that are held out; "auto" for one in
            twelve.
        force: cut anew even where there is a cut.

    Raises:
        DataError: a source file or a shard is missing or damaged.
        InputError: more rows are held out than there are.
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
    words = ["--dataset", name, "--num-shards", str(num_shards)]
    words += ["--validation-rows", str(validation_rows)]
    words += ["--data-dir", str(data_dir)] if data_dir and name != SAMPLE else []
    recut = shlex.join(["rnnjob", "data", "prepare", *words, "--force"])
    return open_prepared(Storage(str(folder)), standardize, test_head_rows, recut)


def _cut(
    source: Source, num_shards: int, validation_rows: int | str, folder: Path, force: bool
) -> None:
    train, test = source.read()
    _check_is_not_mnist(source.name, train)
    held = (
        len(train.labels) // _AUTO_VALIDATION if validation_rows == "auto" else int(validation_rows)
    )
    if held >= len(train.labels):
        raise InputError(
            f"validation_rows {held} leaves nothing of {len(train.labels)} training rows",
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
        "train": Split(train.images[held:], train.labels[held:]),
        "validation": Split(train.images[:held], train.labels[:held]),
        "test": test,
    }
    if len(splits["train"].labels) < num_shards:
        raise InputError(
            f"{len(splits['train'].labels)} training rows do not fill {num_shards} shards",
            "take fewer shards: --set dataset.num_shards=1",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        _write(source.name, splits, num_shards, scratch)
        _put(scratch, folder, force)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _put(scratch: Path, folder: Path, force: bool) -> None:
    """Where someone cut the same at the same time, theirs stays: equal bytes, which others read
    by now."""
    try:
        scratch.rename(folder)
        return
    except OSError:  # it is there, and not empty
        if not force and (folder / MANIFEST).is_file():
            return
    aside = scratch.with_name(f"{scratch.name}-old")
    folder.rename(aside)
    try:
        scratch.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _check_is_not_mnist(name: str, train: Split) -> None:
    """The families share their file names: a folder of MNIST is easily taken for another's."""
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
    whole = hashlib.sha256()
    for split, rows in splits.items():
        shards[split] = []
        for shard in range(num_shards):
            index = np.array(shard_rows(len(rows.labels), num_shards, shard), dtype=np.int64)
            images, labels = rows.images[index], rows.labels[index]
            whole.update(f"{split}/{shard}/{images.shape}".encode())
            whole.update(images.tobytes())
            whole.update(labels.tobytes())
            file = shard_name(split, shard, num_shards)
            pq.write_table(_table(images, labels), folder / file, compression="zstd")
            digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
            shards[split].append({"file": file, "rows": len(labels), "sha256": digest})
    mean, std = _pixel_moments(splits["train"].images)
    shape = DataShape(
        name=name,
        fingerprint=whole.hexdigest(),
        num_shards=num_shards,
        num_classes=NUM_CLASSES,
        height=height,
        width=width,
        train_rows=len(splits["train"].labels),
        validation_rows=len(splits["validation"].labels),
        test_rows=len(splits["test"].labels),
        pixel_mean=mean,
        pixel_std=std,
    )
    manifest = {"schema_version": SCHEMA_VERSION, "shape": shape.model_dump(), "shards": shards}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def _pixel_moments(images: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and standard deviation of the pixels within [0, 1], from exact sums of integers."""
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
