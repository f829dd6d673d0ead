"""Open the tables that a URI names as a data set. They are cut into shards first, once."""

import shlex
from pathlib import Path

from orchestrator.datasets.cache import cache_errors, cut_folder, cut_once, default_cache
from orchestrator.datasets.options import TABLE_PREFIX, TableOptions
from orchestrator.datasets.prepared import PreparedData, open_prepared
from orchestrator.datasets.progress import Tell, tell_nobody
from orchestrator.datasets.tables.cut import cut_tables
from orchestrator.datasets.tables.files import Tables, find_tables
from workers.errors import DataError
from workers.storage.storage import Storage

_FLAGS = ("inputs", "target", "task", "validation", "test")
"""The options that have a flag of their own. Others are given with --set."""


def prepare_tables(
    name: str,
    options: TableOptions,
    as_tokens: bool,
    num_shards: int = 8,
    normalize: bool = True,
    test_head_rows: int = 0,
    cache: Path | None = None,
    force: bool = False,
    tell: Tell = tell_nobody,
) -> PreparedData:
    """Open a data set of a user's own tables.

    What was read and what was inferred is in `PreparedData.origin`.

    Args:
        name: `parquet:` and the URI of the tables. Other options may name more of them.
        as_tokens: whether lists of integers are tokens, and the model needs tokens.
        num_shards: the number of shards of each split.
        normalize: whether the shape holds the means and standard deviations of the inputs.
        test_head_rows: see `DataShape`.
        cache: the folder for shards; by default `default_cache()`.
        force: cut the data set again even if it was cut before.
        tell: is told how far the cut is.

    Raises:
        DataError: a table cannot be read, or its rows cannot be trained on.
        InputError: the options do not fit each other, or there are more shards than rows.
    """
    cache = cache or default_cache()
    tables = tables_of(name, options)
    digests = {split: source.digest() for split, source in tables.items()}

    def cut(to: Path) -> None:
        cut_tables(tables, digests, options, as_tokens, num_shards, name, to, tell)
        _check_unchanged(name, options, digests)

    with cache_errors(cache):
        decided_by = [name, digests, options.model_dump(mode="json"), as_tokens, num_shards]
        folder = cut_folder(cache, "tables", decided_by)
        cut_once(folder, cut, force)
    command = ["rnnjob", "data", "prepare", "--dataset", name, "--num-shards", str(num_shards)]
    command += [*flags_of(options), *(["--tokens"] if as_tokens else []), "--force"]
    return open_prepared(Storage(str(folder)), normalize, test_head_rows, shlex.join(command))


def flags_of(options: TableOptions) -> list[str]:
    """Return the flags of a command line that say the same as the options."""
    flags = []
    for key in options.model_dump(exclude_defaults=True):
        value = getattr(options, key)
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        flags += [f"--{key}", text] if key in _FLAGS else ["--set", f"dataset.{key}={text}"]
    return flags


def tables_of(name: str, options: TableOptions) -> dict[str, Tables]:
    """Return the tables by the split that they hold; those under "train" are still to be split."""
    uris = {
        "train": name.removeprefix(TABLE_PREFIX),
        "validation": options.validation,
        "test": options.test,
    }
    return {
        split: find_tables(uri.removeprefix(TABLE_PREFIX)) for split, uri in uris.items() if uri
    }


def _check_unchanged(name: str, options: TableOptions, digests: dict[str, str]) -> None:
    """Raise DataError if a file was changed, added or removed since its identity was taken."""
    for split, source in tables_of(name, options).items():
        if source.digest() != digests[split]:
            raise DataError(
                f"the files of {source.uri} changed while they were read",
                "wait until nothing writes to them, then submit again",
            )
