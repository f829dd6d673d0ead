"""JobSpec: presets, YAML files, --set and flags become one validated, immutable spec.

Precedence: explicit flag > --set > file > preset > environment > default.
"""

import copy
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    StrictBool,
    ValidationError,
    model_validator,
)

from orchestrator.presets import PRESETS
from orchestrator.spec_tree import (
    SpecError,
    Tree,
    leaves,
    merge,
    nearest,
    parse_assignment,
    parse_yaml,
    read_file,
    set_key,
    short,
)
from orchestrator.units import parse_bytes, parse_duration
from workers.config import (
    AugmentConfig,
    CheckpointConfig,
    Config,
    LogConfig,
    ModelConfig,
    NonNegativeInt,
    PositiveInt,
    TrainingConfig,
)
from workers.storage import refuse_credentials

_SPEC = "the spec"
_MAX_MORE_SHARDS = 1000
"""How far above the workers a number of shards is looked for, to be proposed."""


def _duration_text(value: Any) -> Any:
    if value is not None:
        parse_duration(value)
    return value


def _size_text(value: Any) -> Any:
    parse_bytes(value)
    return value


def _worker_count(value: Any) -> int | str:
    """A number, or `MIN:MAX` as text."""
    parts = str(value).split(":")
    if isinstance(value, bool) or len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise ValueError("write a number of at least 1, or MIN:MAX")
    low, high = int(parts[0]), int(parts[-1])
    if not 1 <= low <= high:
        raise ValueError("MIN must be at least 1 and at most MAX")
    return low if len(parts) == 1 else f"{low}:{high}"


def _local_path(value: str) -> str:
    if "\0" in value:
        raise ValueError("a path has no zero byte")
    try:
        Path(value).expanduser()
    except RuntimeError as error:  # ~ of a user who is none
        raise ValueError(str(error)) from error
    return value


Duration = Annotated[str | int | float, BeforeValidator(_duration_text)]
Size = Annotated[str | int, BeforeValidator(_size_text)]


class DatasetConfig(Config):
    """What is learned from."""

    name: Annotated[str, Field(min_length=1)] = "mnist"
    data_dir: Annotated[str, AfterValidator(_local_path)] | None = None
    """Folder with idx files; where it is null, they are downloaded."""
    prepared: str | None = None
    """URI of shards cut before; a job for a cluster carries it, so that the cluster needs
    neither the idx files nor a network."""
    num_shards: PositiveInt = 8
    """The most workers that the job can ever use. Part of what decides the result."""
    validation_rows: NonNegativeInt | Literal["auto"] = "auto"
    """The first rows of the training split are held out; `auto`: one row in twelve."""
    standardize: StrictBool = True
    """Pixels to mean 0 and standard deviation 1 over the training rows; else within [0, 1]."""
    test_head_rows: NonNegativeInt = 0
    """Tell the accuracy on the first so many test rows, too."""
    memory_budget: Size = "1GiB"
    """Most bytes of rows that one worker may hold in memory."""


class ScalingConfig(Config):
    """How fast, never what."""

    workers: Annotated[int | str, BeforeValidator(_worker_count)] = 1
    """Training processes: a number, or MIN:MAX for a job that may grow and shrink."""
    cpus_per_worker: PositiveInt | Literal["auto"] = "auto"
    """Shards that a worker computes at once. `auto`: 1, or with --local all CPUs of the process."""
    gpus_per_worker: Annotated[int, Field(ge=0, le=1, strict=True)] = 0
    """0 or 1: a worker uses one GPU, and workers that shared one could not exchange gradients."""
    resize_interval: Duration = "1m"
    """Of MIN:MAX: how often to look whether more workers would fit. A resize restarts them all."""

    @property
    def worker_range(self) -> tuple[int, int]:
        """Fewest and most workers."""
        low, _, high = str(self.workers).partition(":")
        return int(low), int(high or low)


class LimitsConfig(Config):
    time: Duration | None = None
    """The job ends, with a checkpoint, when it has run so long."""
    steps: PositiveInt | None = None
    """The job ends, with a checkpoint, after so many steps of the whole run, as a stop does. Unlike
    `training.steps` it does not change the schedule of the learning rate."""
    pending_timeout: Duration = "10m"
    """The job ends when its resources are not there in time."""
    max_failures: NonNegativeInt = 3
    """Restarts after a lost worker or driver."""


class JobSpec(Config):
    """A whole job. `dataset`, `model`, `augment`, `training` decide its result, and only they."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")] = "mnist-lstm"
    dataset: DatasetConfig = DatasetConfig()
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    training: TrainingConfig = TrainingConfig()
    scaling: ScalingConfig = ScalingConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    limits: LimitsConfig = LimitsConfig()
    log: LogConfig = LogConfig()
    storage: Annotated[str, Field(min_length=1)] = "./runs"

    @model_validator(mode="after")
    def _fits_together(self) -> "JobSpec":
        for uri in (self.storage, self.dataset.prepared or ""):
            refuse_credentials(uri)
        shards, batch = self.dataset.num_shards, self.training.global_batch_size
        if batch % shards:
            below = batch // shards * shards
            near = f"{below} or {below + shards}" if below else str(shards)
            raise ValueError(
                f"global_batch_size {batch} is not a multiple of num_shards {shards}"
                f" | take {near}, or another num_shards"
            )
        most = self.scaling.worker_range[1]
        if most > shards:
            candidates = range(most, min(batch, most + _MAX_MORE_SHARDS) + 1)
            more = next((n for n in candidates if batch % n == 0), None)
            raise ValueError(
                f"workers {most} is above num_shards {shards}, and each worker needs a shard"
                f" | take at most {shards} workers"
                + (f", or more shards: --set dataset.num_shards={more}" if more else "")
            )
        if self.dataset.validation_rows == 0 and self.training.keep == "best":
            raise ValueError(
                "keep 'best' has nothing to go by: validation_rows is 0"
                " | hold rows out, or --set training.keep=last"
            )
        return self

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def with_values(self, values: Mapping[str, Any]) -> "JobSpec":
        """A copy with some keys, dotted, set anew."""
        tree = self.model_dump(mode="json")
        for key, value in values.items():
            set_key(tree, key, value)
        return _validated(tree, {})

    def fingerprint(self, data_fingerprint: str) -> str:
        """SHA-256 of all that decides the result: data, model, augmentation, training."""
        return self._sha256(data_fingerprint, self.training.model_dump(mode="json"))

    def lineage(self, data_fingerprint: str, num_steps: int) -> tuple[tuple[int, str], ...]:
        """What decides a checkpoint, by the last step that it holds for, ascending.

        A run that is extended goes on from checkpoints of the shorter one: how long a run is to be
        decides its steps only through the schedule of the learning rate.
        """
        training = self.training.model_dump(
            mode="json", exclude={"epochs", "steps", "earlier_ends"}
        )
        ends = [*self.training.earlier_ends, num_steps]
        is_constant = self.training.schedule == "constant"
        return tuple(
            (
                end,
                self._sha256(
                    data_fingerprint, {**training, "ends": [] if is_constant else ends[:number]}
                ),
            )
            for number, end in enumerate(ends, start=1)
        )

    def _sha256(self, data_fingerprint: str, training: Mapping[str, Any]) -> str:
        dataset = {
            "fingerprint": data_fingerprint,
            "num_shards": self.dataset.num_shards,
            "standardize": self.dataset.standardize,
            "test_head_rows": self.dataset.test_head_rows,
        }
        content = {
            "dataset": dataset,
            "model": self.model.model_dump(mode="json"),
            "augment": self.augment.model_dump(mode="json"),
            "training": training,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def build_spec(
    preset: str | None = None,
    file: Path | None = None,
    assignments: Iterable[str] = (),
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
) -> JobSpec:
    """The spec of a submission.

    Args:
        preset: a name of `PRESETS`.
        file: a YAML file with any of the spec's keys.
        assignments: `a.b=value`, the value read as YAML.
        flags: dotted keys of the flags that were given.
        environment: dotted keys that environment variables gave.

    Raises:
        SpecError: with the key, its value, what is allowed, and the nearest valid key.
    """
    tree: Tree = {}
    origins: dict[str, str] = {}
    for key, value in (environment or {}).items():
        set_key(tree, key, value)
    if preset is not None:
        if preset not in PRESETS:
            raise SpecError(f"no preset '{preset}'", nearest(preset, PRESETS))
        for key, value in copy.deepcopy(PRESETS[preset]).items():
            set_key(tree, key, value)
    if file is not None:
        content = read_file(file)
        merge(tree, content)
        _let_epochs_win(tree, leaves(content))
        origins.update(dict.fromkeys(leaves(content), str(file)))
    for assignment in assignments:
        key, value = parse_assignment(assignment)
        set_key(tree, key, value)
        given = leaves(value, f"{key}.") if isinstance(value, dict) else [key]
        _let_epochs_win(tree, given)
        origins.update(dict.fromkeys(given, _SPEC))
    for key, value in (flags or {}).items():
        set_key(tree, key, value)
        origins[key] = _SPEC
    _let_epochs_win(tree, flags or {})
    return _validated(tree, origins)


def _let_epochs_win(tree: Tree, given: Collection[str]) -> None:
    """Who asks for epochs does not mean the steps that a preset or a file before it asked for."""
    if "training.epochs" in given and "training.steps" not in given:
        tree["training"].pop("steps", None)


def load_spec(text: str, where: str) -> JobSpec:
    """A spec from the text of a job.yaml."""
    content = parse_yaml(text, where)
    if not isinstance(content, dict):
        raise SpecError(f"{where} holds no mapping", "see rnnjob submit --print-config")
    return _validated(content, dict.fromkeys(leaves(content), where))


def _validated(tree: Tree, origins: Mapping[str, str]) -> JobSpec:
    try:
        return JobSpec.model_validate(tree)
    except ValidationError as error:
        raise _explained(error, origins) from None


def _explained(error: ValidationError, origins: Mapping[str, str]) -> SpecError:
    """The first thing that is wrong, as one line of cause and one of cure.

    `origins`: the file that gave a dotted key.
    """
    # A union reports each of its members; the shortest way in says the most.
    first = min(error.errors(), key=lambda e: (e["type"] != "extra_forbidden", len(e["loc"])))
    keys = [str(part) for part in first["loc"] if part in _ALL_KEYS]
    key, given = ".".join(keys), first["input"]
    dotted = ".".join(str(part) for part in first["loc"])
    where = next(
        (
            by
            for name, by in origins.items()
            if f"{dotted}.".startswith(f"{name}.") or f"{name}.".startswith(f"{dotted}.")
        ),
        _SPEC,
    )
    if first["type"] == "extra_forbidden":
        return SpecError(f"unknown key '{short(dotted)}' in {where}", nearest(dotted, _ALL_DOTTED))
    message = first["msg"].removeprefix("Value error, ")
    cause, _, cure = message.partition(" | ")
    if not key:
        return SpecError(cause, cure or "see rnnjob submit --print-config")
    wanted = "; ".join(
        dict.fromkeys(
            short(e["msg"].removeprefix("Value error, "))
            for e in error.errors()
            if e["loc"][: len(keys)] == first["loc"][: len(keys)]
        )
    )
    return SpecError(f"{key} is {short(repr(given))} in {where}", f"{key}: {wanted}")


def _dotted(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            keys += _dotted(field.annotation, f"{prefix}{name}.")
    return keys


_ALL_DOTTED = _dotted(JobSpec)
_ALL_KEYS = {part for dotted in _ALL_DOTTED for part in dotted.split(".")}
