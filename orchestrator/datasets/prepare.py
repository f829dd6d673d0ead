"""Open a data set by its name. It is cut into shards first, once, and kept in the cache."""

import shlex
from pathlib import Path

from orchestrator.datasets.cache import cache_errors, cut_folder, cut_once, default_cache
from orchestrator.datasets.images import cut_images
from orchestrator.datasets.prepared import PreparedData, open_prepared
from orchestrator.datasets.progress import Tell, tell_nobody
from orchestrator.datasets.sources import SAMPLE, find_source
from workers.storage.storage import Storage


def prepare(
    name: str,
    data_dir: Path | None = None,
    num_shards: int = 8,
    validation_rows: int | str = "auto",
    standardize: bool = True,
    test_head_rows: int = 0,
    cache: Path | None = None,
    force: bool = False,
    tell: Tell = tell_nobody,
) -> PreparedData:
    """Open a data set of images.

    Args:
        name: a name of `sources.NAMES`.
        data_dir: a folder with the idx files; without it they are downloaded into the cache.
        num_shards: the number of shards of each split.
        validation_rows: how many of the first training rows are held out; "auto" for one in twelve.
        standardize: whether the shape holds the mean and standard deviation of the pixels.
        test_head_rows: see `DataShape`.
        cache: the folder for downloads and shards; by default `default_cache()`.
        force: cut the data set again even if it was cut before.
        tell: is told how far the cut is.

    Raises:
        DataError: a source file or the manifest is missing or damaged, or the cache cannot be
            written.
        InputError: too many rows are held out, or there are more shards than rows.
    """
    cache = cache or default_cache()
    with cache_errors(cache):
        source = find_source(name, data_dir, cache)
        folder = cut_folder(cache, name, [source.digest, num_shards, validation_rows])
        cut_once(
            folder, lambda to: cut_images(source, num_shards, validation_rows, to, tell), force
        )
    flags = ["--dataset", name, "--num-shards", str(num_shards)]
    flags += ["--validation-rows", str(validation_rows)]
    flags += ["--data-dir", str(data_dir)] if data_dir and name != SAMPLE else []
    recut_command = shlex.join(["rnnjob", "data", "prepare", *flags, "--force"])
    return open_prepared(Storage(str(folder)), standardize, test_head_rows, recut_command)
