"""Cut images and their labels into shards."""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orchestrator.datasets.idx import Split
from orchestrator.datasets.manifest import Origin, write_manifest
from orchestrator.datasets.shard_file import check_num_shards, shard_name
from orchestrator.datasets.sources import CLASSES, NUM_CLASSES, SAMPLE, Source
from workers.data.kinds import ClassTarget, DataShape, ImageInput
from workers.errors import DataError, InputError
from workers.shards.order import shard_rows

_MNIST_IMAGES_SHA256 = "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757"
"""The SHA-256 of the pixels of MNIST's 60,000 training images."""
_AUTO_VALIDATION = 12
"""`auto` holds out one row in twelve: 5,000 of MNIST's 60,000."""


def cut_images(source: Source, num_shards: int, validation_rows: int | str, folder: Path) -> None:
    """Write the shards and the manifest of a data set into a folder.

    Raises DataError, or InputError if too many rows are held out or there are too many shards.
    """
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
    check_num_shards(len(splits["train"].labels), num_shards)
    _write(source, splits, num_shards, folder)


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


def _write(source: Source, splits: dict[str, Split], num_shards: int, folder: Path) -> None:
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
    counts = np.bincount(splits["train"].labels, minlength=NUM_CLASSES)
    shape = DataShape(
        name=source.name,
        fingerprint=fingerprint.hexdigest(),
        num_shards=num_shards,
        input=ImageInput(height=height, width=width, mean=mean, std=std),
        target=ClassTarget(
            column="label",
            names=CLASSES[source.name],
            train_counts=tuple(counts.tolist()),
        ),
        train_rows=len(splits["train"].labels),
        validation_rows=len(splits["validation"].labels),
        test_rows=len(splits["test"].labels),
    )
    write_manifest(folder, shape, shards, Origin(uri=source.name, digest=source.digest))


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
