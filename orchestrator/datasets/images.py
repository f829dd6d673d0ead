"""Check images and their labels, and cut them into shards."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from orchestrator.datasets.idx import StoredSplit
from orchestrator.datasets.image_shards import ImageCut
from orchestrator.datasets.progress import Tell, num_threads
from orchestrator.datasets.sources import NUM_CLASSES, SAMPLE, Source
from workers.errors import DataError, InputError
from workers.shards.shard_file import check_num_shards

_MNIST_SIZES = (60_000, 28, 28)
_MNIST_IMAGES_SHA256 = "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757"
"""The SHA-256 of the pixels of MNIST's 60,000 training images."""
_AUTO_VALIDATION = 12
"""`auto` holds out one row in twelve: 5,000 of MNIST's 60,000."""


def cut_images(
    source: Source, num_shards: int, validation_rows: int | str, folder: Path, tell: Tell
) -> None:
    """Write the shards and the manifest of a data set into a folder.

    Raises DataError, or InputError if too many rows are held out or there are too many shards.
    """
    train, test = source.open()
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
    if train.size != test.size:
        raise DataError(
            f"{source.name} has training images of {train.size} pixels and test images "
            f"of {test.size}",
            "take all four files from the same data set",
        )
    check_num_shards(len(train.labels) - num_held_out, num_shards)
    with ThreadPoolExecutor(num_threads()) as pool:
        ImageCut(source, train, test, num_held_out, num_shards, folder, pool, tell).write()


def _check_is_not_mnist(name: str, train: StoredSplit) -> None:
    """Raise DataError if the files given for another data set are those of MNIST.

    The data sets share their file names, so their folders are easily confused.
    """
    if name in ("mnist", SAMPLE) or (len(train.labels), *train.size) != _MNIST_SIZES:
        return
    if hashlib.sha256(train.read().images.tobytes()).hexdigest() == _MNIST_IMAGES_SHA256:
        raise DataError(
            f"the files given for {name} are those of mnist",
            f"name the folder of {name}: --data-dir (or RNNJOB_DATA_DIR), or one above it "
            f"that has them in {name}/",
        )
