"""Find the source of a data set by its name.

`mnist`, `fashion-mnist` and `kmnist` are idx files in a folder, installed by a package of the
system such as Debian's `dataset-fashion-mnist`, or downloaded by torchvision.
`mnist-sample` is shipped with rnnjob.
"""

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orchestrator.datasets.idx import Split, StoredSplit, file_sha256, open_split
from orchestrator.datasets.names import TABLE_PREFIX
from workers.errors import DataError

NUM_CLASSES = 10
_TORCHVISION_CLASS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}
_STEMS = ("train-images", "train-labels", "t10k-images", "t10k-labels")
SAMPLE = "mnist-sample"
_DIGITS = tuple(str(digit) for digit in range(NUM_CLASSES))
CLASSES = {
    "mnist": _DIGITS,
    "kmnist": _DIGITS,
    SAMPLE: _DIGITS,
    "fashion-mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
}  # fmt: skip
"""What the labels 0 to 9 stand for."""
NAMES = (*_TORCHVISION_CLASS, SAMPLE)


@dataclass(frozen=True)
class Source:
    """A data set whose files were found but not read yet."""

    name: str
    digest: str
    """A SHA-256 over the files that hold the rows."""
    open: Callable[[], tuple[StoredSplit, StoredSplit]]
    """Returns the training and the test split. Raises DataError."""

    def read(self) -> tuple[Split, Split]:
        """Return the training and the test split as a whole. Raises DataError."""
        train, test = self.open()
        return train.read(), test.read()


def find_source(name: str, data_dir: Path | None, cache: Path) -> Source:
    """Return the source of a data set.

    Without `data_dir` it is downloaded into `cache`, unless the system has it installed.

    Raises:
        DataError: the name is unknown, a file is missing, or the download failed.
    """
    if name == SAMPLE:
        return _sample()
    if name not in _TORCHVISION_CLASS:
        raise DataError(
            f"no data set '{name}'",
            f"choose one of {', '.join(NAMES)}, or your own tables: {TABLE_PREFIX}URI",
        )
    files = (
        _find_files(name, data_dir)
        if data_dir
        else _find_local(name, cache) or _download(name, cache)
    )
    digest = hashlib.sha256()
    for path in files:
        digest.update(file_sha256(path))
    return Source(
        name, digest.hexdigest(), lambda: (open_split(*files[:2]), open_split(*files[2:]))
    )


def _sample() -> Source:
    data = resources.files("orchestrator.datasets").joinpath("mnist_sample.parquet").read_bytes()

    def open_sample() -> tuple[StoredSplit, StoredSplit]:
        table = pq.read_table(io.BytesIO(data))
        images = table.column("image").combine_chunks().flatten().to_numpy()
        images = images.reshape(-1, 28, 28)
        labels = table.column("label").to_numpy().astype(np.uint8)
        test = table.column("test").to_numpy(zero_copy_only=False)
        return _in_memory(images[~test], labels[~test]), _in_memory(images[test], labels[test])

    return Source(SAMPLE, hashlib.sha256(data).hexdigest(), open_sample)


def _in_memory(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> StoredSplit:
    def parts(sizes: Iterable[int]) -> Iterator[NDArray[np.uint8]]:
        ends = np.cumsum(list(sizes))
        yield from np.split(images, ends[:-1])

    return StoredSplit((images.shape[1], images.shape[2]), labels, parts)


def _find_files(name: str, data_dir: Path) -> list[Path]:
    """Return the four idx files, in the order of `_STEMS`. Raises DataError if one is missing.

    They may be in the folder itself, in a subfolder with the data set's name, or in the subfolder
    that torchvision uses.
    """
    if not os.path.isdir(data_dir):  # noqa: PTH112  # Path.is_dir raises for a name that is too long
        raise DataError(
            f"the data folder {data_dir} does not exist",
            "name a folder with idx files: --data-dir (or RNNJOB_DATA_DIR)",
        )
    folders = [data_dir / name, data_dir / _TORCHVISION_CLASS[name] / "raw", data_dir]
    candidates = [[_find(folder, stem) for stem in _STEMS] for folder in folders]
    for files in candidates:
        if all(files):
            return [path for path in files if path]
    fullest = max(candidates, key=lambda files: sum(path is not None for path in files))
    missing = [stem for stem, path in zip(_STEMS, fullest, strict=True) if path is None]
    raise DataError(
        f"{data_dir} lacks {', '.join(_file_name(stem) for stem in missing)} (plain or .gz)",
        f"put the four idx files of {name} there, leave --data-dir out to download them, "
        f"or take --dataset {SAMPLE}",
    )


def _file_name(stem: str) -> str:
    return f"{stem}-idx{3 if stem.endswith('images') else 1}-ubyte"


def _find(folder: Path, stem: str) -> Path | None:
    """Return the file of a stem, whichever of the four usual names it has; None without one."""
    name = _file_name(stem)
    names = [name, f"{name}.gz", name.replace("-idx", ".idx"), name.replace("-idx", ".idx") + ".gz"]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _installed_folders() -> list[Path]:
    """Return the folders in which packages of the system install data sets.

    Debian's are below /usr/share/datasets. XDG_DATA_DIRS names the folders like /usr/share.
    """
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    return [Path(folder, "datasets") for folder in shared.split(":") if folder.startswith("/")]


def is_local(name: str, cache: Path) -> bool:
    """Return whether a data set can be used without a download."""
    return name == SAMPLE or (name in _TORCHVISION_CLASS and _find_local(name, cache) is not None)


def _find_local(name: str, cache: Path) -> list[Path] | None:
    """Return the idx files in the cache, or else those that the system has installed."""
    for folder in (cache, *_installed_folders()):
        with contextlib.suppress(DataError):
            return _find_files(name, folder)
    return None


def _download(name: str, cache: Path) -> list[Path]:
    """Let torchvision download the idx files into the cache, and return them."""
    import torchvision.datasets

    cls = getattr(torchvision.datasets, _TORCHVISION_CLASS[name])
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as scratch:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                cls(scratch, download=True)
        except (OSError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
            raise DataError(
                f"cannot download {name}: {reason}",
                "name a folder that has its idx files: --data-dir, or take the digits shipped with "
                f"rnnjob: --dataset {SAMPLE}",
            ) from error
        target = cache / _TORCHVISION_CLASS[name]
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(Path(scratch) / _TORCHVISION_CLASS[name], target)
    return _find_files(name, cache)
