"""What would be downloaded for a data set of images, and how much it is."""

from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.datasets.cache import default_cache
from orchestrator.datasets.sources import NAMES, is_local
from orchestrator.units import show_bytes
from workers.storage.typed_json import Json

_SERVERS = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/", 11_594_722),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        30_878_645,
    ),
    "kmnist": ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/", 21_240_888),
}
"""The server that torchvision asks first, and the bytes of the four files there."""


@dataclass(frozen=True)
class Download:
    """Files that a job would have fetched before it is started."""

    name: str
    url: str
    num_bytes: int
    into: str

    def describe(self) -> str:
        return (
            f"{self.name} is not here: 4 files, {show_bytes(self.num_bytes)}, would be downloaded "
            f"from {self.url} into {self.into}, and cut into shards"
        )

    def to_json(self) -> Json:
        return asdict(self)


def find_download(name: str, data_dir: str | None, cache: Path | None = None) -> Download | None:
    """Return what has to be downloaded before a data set can be used; None if it is here, if
    `data_dir` says where it is, or if no data set has the name."""
    cache = cache or default_cache()
    if data_dir or name not in NAMES or is_local(name, cache):
        return None
    url, num_bytes = _SERVERS[name]
    return Download(name, url, num_bytes, str(cache))
