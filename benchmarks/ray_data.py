"""Read the blocks of a shard in a given order: in the worker's process, and by Ray Data's tasks.

This is why a worker reads its shards itself (docs/architecture.md).
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from orchestrator.datasets.cache import default_cache  # noqa: E402
from orchestrator.datasets.sources import SAMPLE, find_source  # noqa: E402

BLOCK_ROWS = 1024
_BLOCKS_OF_A_TASK = 16


def write_shard(path: Path, num_rows: int) -> None:
    """Write a shard with rows of MNIST, or of the shipped sample, many times over."""
    own = os.environ.get("RNNJOB_DATA_DIR")
    name = "mnist" if own else SAMPLE
    train, _ = find_source(name, Path(own) if own else None, default_cache()).read()
    images = train.images[np.arange(num_rows) % len(train.images)]
    flat = pa.array(images.reshape(-1), pa.uint8())
    table = pa.table({"image": pa.FixedSizeListArray.from_arrays(flat, images[0].size)})
    pq.write_table(table, path, compression="zstd", row_group_size=BLOCK_ROWS)


def in_process(path: Path, order: list[int]) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for block in order:
            yield file.read_row_group(block, use_threads=False)


def own_datasource(path: Path, order: list[int]) -> Any:
    """Return a dataset of the blocks in their order, some of which each task reads."""
    import ray.data
    from ray.data.block import BlockMetadata

    class Blocks(ray.data.Datasource):  # type: ignore[misc]
        def estimate_inmemory_data_size(self) -> None:
            return None

        def get_read_tasks(self, *_: Any, **__: Any) -> list[ray.data.ReadTask]:
            parts = (
                order[first : first + _BLOCKS_OF_A_TASK]
                for first in range(0, len(order), _BLOCKS_OF_A_TASK)
            )
            return [
                ray.data.ReadTask(
                    lambda part=part: in_process(path, part),
                    BlockMetadata(None, None, input_files=None, exec_stats=None),
                )
                for part in parts
            ]

    return ray.data.read_datasource(Blocks())


def measure(what: str, read: Callable[[], Iterable[pa.Table]], num_rows: int) -> None:
    started = time.perf_counter()
    first_s, found = 0.0, 0
    for table in read():
        first_s = first_s or time.perf_counter() - started
        found += table.num_rows
    wall_s = time.perf_counter() - started
    assert found == num_rows
    memory = sum(
        process.memory_info().rss
        for process in psutil.Process().children(recursive=True)
        if process.name().startswith("ray::")
    )
    print(
        f"{what:<32} first {first_s:.2f} s, all {wall_s:.2f} s, {num_rows / wall_s:,.0f} rows/s, "
        f"Ray's processes {memory / 2**20:,.0f} MiB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    num_rows: int = parser.parse_args().rows
    with tempfile.TemporaryDirectory(prefix="rnnjob-") as folder:
        path = Path(folder) / "shard.parquet"
        write_shard(path, num_rows)
        num_blocks = pq.ParquetFile(path).metadata.num_row_groups
        order = np.random.default_rng(0).permutation(num_blocks).tolist()
        for _ in range(3):
            measure("this process", lambda: in_process(path, order), num_rows)
        on_ray(path, order, num_rows, folder)


def on_ray(path: Path, order: list[int], num_rows: int, folder: str) -> None:
    import ray
    import ray.data

    ray.init(
        address="local", num_cpus=4, include_dashboard=False, log_to_driver=False,
        logging_level="ERROR", _temp_dir=f"{folder}/ray",
    )  # fmt: skip
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.execution_options.preserve_order = True

    def read(dataset: Any) -> Iterable[pa.Table]:
        batches: Iterable[pa.Table] = dataset.iter_batches(batch_size=None, batch_format="pyarrow")
        return batches

    for _ in range(3):
        measure("Ray Data, own data source", lambda: read(own_datasource(path, order)), num_rows)
    measure("Ray Data, read_parquet", lambda: read(ray.data.read_parquet(str(path))), num_rows)
    ray.shutdown()


if __name__ == "__main__":
    main()
