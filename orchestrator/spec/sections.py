"""The sections of a spec that workers do not read: data set, scaling, limits.

The sections that workers read are in `workers.config`.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from orchestrator.datasets.options import TABLE_PREFIX, TableOptions
from orchestrator.spec.tracker_uri import check_tracker_uri
from orchestrator.units import parse_bytes, parse_duration
from workers.config import Config, NonNegativeInt, PositiveInt
from workers.storage.credentials import refuse_credentials

_EARLIER_FRACTION = 0.1


def _duration_text(value: Any) -> Any:
    if value is not None:
        parse_duration(value)
    return value


def _size_text(value: Any) -> Any:
    parse_bytes(value)
    return value


def _worker_count(value: Any) -> int | str:
    """Return a number, or the text `MIN:MAX`. Raises ValueError."""
    parts = str(value).split(":")
    if isinstance(value, bool) or len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise ValueError("write a number of at least 1, or MIN:MAX")
    low, high = int(parts[0]), int(parts[-1])
    if not 1 <= low <= high:
        raise ValueError("MIN must be at least 1 and at most MAX")
    return low if len(parts) == 1 else f"{low}:{high}"


def _gpu_share(value: Any) -> int | float:
    """Return a share of one GPU. Raises ValueError."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # Ray counts in ten-thousandths.
    if not is_number or not (value == 0 or 0.0001 <= value <= 1):
        raise ValueError("write 0, 1, or a fraction between them for workers that share a GPU")
    return int(value) if value in (0, 1) else float(value)


def _local_path(value: str) -> str:
    if "\0" in value:
        raise ValueError("a path must not contain a zero byte")
    try:
        Path(value).expanduser()
    except RuntimeError as error:  # ~user of a user that does not exist
        raise ValueError(str(error)) from error
    return value


Duration = Annotated[str | int | float, BeforeValidator(_duration_text)]
Size = Annotated[str | int, BeforeValidator(_size_text)]


class DatasetConfig(TableOptions):
    """The data set that is learned from."""

    name: Annotated[str, Field(min_length=1)] = "mnist"
    """The name of a set of images, or `parquet:URI` for tables of one's own."""
    data_dir: Annotated[str, AfterValidator(_local_path)] | None = None
    """The folder with the idx files. If it is null, they are downloaded."""
    prepared: str | None = None
    """The URI of shards that are cut already. A job for a cluster gets it when it is submitted, so
    that the cluster needs neither the idx files nor a network."""
    fingerprint: str | None = None
    """The fingerprint that the rows of tables must have. rnnjob sets it when a job is submitted, so
    that a job never goes on with files that were changed since."""
    num_shards: PositiveInt = 8
    """The number of shards of each split, and so the most workers that the job can ever use. It is
    one of the keys that decide the result."""
    validation_rows: NonNegativeInt | Literal["auto"] = "auto"
    """How many of the first training images are held out for validation; `auto`: one in twelve."""
    normalize: Literal["standard", "none"] = "standard"
    """`standard`: each feature gets mean 0 and standard deviation 1 over the training rows; all
    pixels of an image are one feature. `none`: features stay as they are, pixels within [0, 1]."""
    test_head_rows: NonNegativeInt = 0
    """If not 0, the score on this many first test rows is reported, too."""
    window: PositiveInt | None = None
    """The rows of a shard that are shuffled together, at least those of a step. Null: all of them.
    With a window, rows beyond the memory budget are streamed from their files."""
    memory_budget: Size = "1GiB"
    """The most bytes of rows that one worker may have in memory. Rows that take more are streamed,
    which needs `window`; the result is the same."""

    @model_validator(mode="before")
    @classmethod
    def _of_earlier_versions(cls, content: Any) -> Any:
        """Accept `standardize: true or false`, as `normalize` was named while it was for pixels;
        and of images the value that `validation_fraction` had for all data before it was `auto`."""
        if not isinstance(content, dict):
            return content
        content = dict(content)
        is_table = str(content.get("name", "")).startswith(TABLE_PREFIX)
        if not is_table and content.get("validation_fraction") == _EARLIER_FRACTION:
            del content["validation_fraction"]
        if "standardize" not in content:
            return content
        is_on = content.pop("standardize")
        if not isinstance(is_on, bool) or "normalize" in content:
            raise ValueError(
                "dataset.standardize is the old name of dataset.normalize"
                " | take only the new one: dataset.normalize=standard or none"
            )
        return {**content, "normalize": "standard" if is_on else "none"}

    @property
    def is_table(self) -> bool:
        """Whether the rows come from the user's own tables."""
        return self.name.startswith(TABLE_PREFIX)

    @property
    def table_options(self) -> TableOptions:
        """The keys that decide how tables are read, without the others."""
        return TableOptions(**{key: getattr(self, key) for key in TableOptions.model_fields})


class ScalingConfig(Config):
    """The resources of a job. They decide its speed, never its result."""

    workers: Annotated[int | str, BeforeValidator(_worker_count)] = 1
    """The number of training processes, or MIN:MAX for a job that may grow and shrink."""
    cpus_per_worker: PositiveInt | Literal["auto"] = "auto"
    """The CPUs of a worker, and so the number of shards that it computes at once. `auto`: on this
    machine an equal share of its CPUs, on a cluster what its nodes have free, but 1 for MIN:MAX
    workers and with a GPU."""
    gpus_per_worker: Annotated[int | float, BeforeValidator(_gpu_share)] = 0
    """The share of a GPU: 0, 1, or a fraction for workers that share one. A worker uses at most
    one GPU."""
    resize_interval: Duration = "1m"
    """How often a job with MIN:MAX workers checks whether more workers would fit. A resize restarts
    all workers."""

    @property
    def worker_range(self) -> tuple[int, int]:
        """The fewest and the most workers."""
        low, _, high = str(self.workers).partition(":")
        return int(low), int(high or low)


def _requirement(value: str) -> str:
    if not value.isprintable() or not value.strip() or value.lstrip().startswith("-"):
        raise ValueError("write requirements for pip, such as einops==0.8.1, and no options")
    if "://" in value:
        refuse_credentials(value)
    return value


class EnvConfig(Config):
    """What the workers need beside rnnjob. It does not count as deciding the result."""

    pip: tuple[Annotated[str, AfterValidator(_requirement)], ...] = ()
    """Requirements that Ray installs for the job. With --local they must be installed already."""


class LimitsConfig(Config):
    """The limits at which a job ends."""

    time: Duration | None = None
    """The running time after which the job stops with a checkpoint."""
    steps: PositiveInt | None = None
    """The number of steps of the whole run after which the job stops with a checkpoint. Unlike
    `training.steps`, it does not change the schedule of the learning rate."""
    pending_timeout: Duration = "10m"
    """How long the job waits for its resources. It fails if they are not available by then."""
    stall_timeout: Duration | None = None
    """How long the workers on Ray may stand still. Then they start again from the last checkpoint,
    which counts as a failure. None: they are waited for."""
    max_failures: NonNegativeInt = 3
    """The most restarts after the loss of a worker or driver."""
    mixed_hardware: Literal["error", "allow"] = "error"
    """Whether the job ends where machines would compute other bits than others do, or did in
    earlier steps of the run. `allow`: it goes on, and its result names the machines."""


class TrackingConfig(Config):
    """The experiment tracker that is told of the run. It does not decide the result."""

    mlflow: Annotated[str, AfterValidator(check_tracker_uri)] | None = None
    """The URI of an MLflow server, without a password. None: nothing is sent."""
