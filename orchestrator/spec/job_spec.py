"""JobSpec: a whole job, validated and immutable, with its fingerprint and its lineage."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

import yaml
from pydantic import Field, model_validator

from orchestrator.datasets.options import TABLE_PREFIX, TableOptions
from orchestrator.spec.sections import (
    DatasetConfig,
    EnvConfig,
    LimitsConfig,
    ScalingConfig,
    TrackingConfig,
)
from orchestrator.spec.tree import set_key
from orchestrator.spec.validation import validated
from workers.config import (
    DEFINITION,
    AugmentConfig,
    CheckpointConfig,
    Config,
    LogConfig,
    ModelConfig,
    TrainingConfig,
)
from workers.storage.credentials import refuse_credentials

_NEW_KEYS = {
    "embedding_size", "loss", "class_weights", "label_smoothing",
    "class_path", "init_args", "code_sha256", "noise", "offset",
}  # fmt: skip
"""Keys that came after there were runs. They are in a fingerprint if they change anything, so that
the fingerprints of older runs hold."""
_MAX_EXTRA_SHARDS = 1000
"""How far above the number of workers to search for a number of shards to propose."""


class JobSpec(Config):
    """A whole job. Only `dataset`, `model`, `augment` and `training` decide its result."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")] = "mnist-lstm"
    """The first part of the run's id; with tables or a model of one's own, by default the names of
    both."""
    dataset: DatasetConfig = DatasetConfig()
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    training: TrainingConfig = TrainingConfig()
    scaling: ScalingConfig = ScalingConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    limits: LimitsConfig = LimitsConfig()
    env: EnvConfig = EnvConfig()
    log: LogConfig = LogConfig()
    tracking: TrackingConfig = TrackingConfig()
    storage: Annotated[str, Field(min_length=1)] = "./runs"
    """Where the run folders are: a path, or a URI that pyarrow opens."""

    @model_validator(mode="after")
    def _fits_together(self) -> "JobSpec":
        """Check what involves several keys. An error's text is its cause and cure, split by |."""
        dataset = self.dataset
        uris = (self.storage, dataset.prepared, dataset.name, dataset.validation, dataset.test)
        for uri in uris:
            refuse_credentials((uri or "").removeprefix(TABLE_PREFIX))
        shards, batch = self.dataset.num_shards, self.training.global_batch_size
        if batch % shards:
            below = batch // shards * shards
            near = f"{below} or {below + shards}" if below else str(shards)
            raise ValueError(
                f"global_batch_size {batch} is not a multiple of num_shards {shards}"
                f" | take {near}, or another num_shards"
            )
        window, rows = self.dataset.window, batch // shards
        if window is not None and window < rows:
            raise ValueError(
                f"dataset.window {window} is below the {rows} rows that a step takes of a shard"
                f" | take more: --set dataset.window={_window_for(rows)}"
            )
        most = self.scaling.worker_range[1]
        if most > shards:
            candidates = range(most, min(batch, most + _MAX_EXTRA_SHARDS) + 1)
            more = next((n for n in candidates if batch % n == 0), None)
            raise ValueError(
                f"workers {most} is above num_shards {shards}, and each worker needs a shard"
                f" | take at most {shards} workers"
                + (f", or more shards: --set dataset.num_shards={more}" if more else "")
            )
        if self.model.class_path is not None and self.training.bptt_steps:
            raise ValueError(
                f"training.bptt_steps {self.training.bptt_steps} is for the built-in models"
                " | leave it out, and cut the gradient in your model's forward"
            )
        self._check_dataset()
        return self

    def _check_dataset(self) -> None:
        dataset = self.dataset
        if dataset.is_table:
            unfit = {"validation_rows"} & _changed(dataset)
            if unfit:
                raise ValueError(
                    "dataset.validation_rows is for images, the data set is a table"
                    " | take a share of the rows: --set dataset.validation_fraction=0.1"
                )
            return
        if unfit := set(TableOptions.model_fields) & _changed(dataset):
            raise ValueError(
                f"dataset.{min(unfit)} is for tables, the data set is {dataset.name}"
                f" | leave it out, or name tables: --dataset {TABLE_PREFIX}URI"
            )
        if dataset.validation_rows == 0 and self.training.keep == "best":
            raise ValueError(
                "training.keep 'best' needs validation rows, but validation_rows is 0"
                " | hold rows out, or --set training.keep=last"
            )

    def to_yaml(self) -> str:
        """Return the text of a job.yaml. `load_spec` reads it."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def with_values(self, values: Mapping[str, Any]) -> "JobSpec":
        """Return a copy with other values for some dotted keys. Raises SpecError."""
        tree = self.model_dump(mode="json")
        for key, value in values.items():
            set_key(tree, key, value)
        return validated(JobSpec, tree, {})

    def fingerprint(self, data_fingerprint: str) -> str:
        """Return a SHA-256 of all that decides the result: data, model, augmentation, training."""
        return self._sha256(data_fingerprint, self._training())

    def lineage(self, data_fingerprint: str, num_steps: int) -> tuple[tuple[int, str], ...]:
        """Return the fingerprints that the run's checkpoints must have.

        Each entry is the last step for which a fingerprint holds, ascending, and the fingerprint. A
        run that is extended has several entries, because it goes on from checkpoints of the shorter
        run. The length of a run changes its steps only through the learning rate schedule.
        """
        lengths = {"epochs", "steps", "earlier_ends"}
        training = {key: value for key, value in self._training().items() if key not in lengths}
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

    def _training(self) -> dict[str, Any]:
        training = _without_new_defaults(self.training)
        # What `auto` is unless the plan says otherwise, and what runs had before there was `auto`.
        for key, value in (("metric", "validation_accuracy"), ("keep", "best")):
            if training[key] == "auto":
                training[key] = value
        return training

    def _sha256(self, data_fingerprint: str, training: Mapping[str, Any]) -> str:
        dataset = {
            "fingerprint": data_fingerprint,
            "num_shards": self.dataset.num_shards,
            "standardize": self.dataset.normalize == "standard",
            "test_head_rows": self.dataset.test_head_rows,
            **({"window": self.dataset.window} if self.dataset.window else {}),
        }
        content = {
            "definition": DEFINITION,
            "dataset": dataset,
            "model": _without_new_defaults(self.model),
            "augment": _without_new_defaults(self.augment),
            "training": training,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _window_for(rows: int) -> int:
    """Return a window to propose for so many rows of a step: of ten steps or more."""
    return 1 << (10 * rows).bit_length()


def _changed(section: Config) -> set[str]:
    """Return the keys that do not have their default values."""
    return set(section.model_dump(exclude_defaults=True))


def _without_new_defaults(section: Config) -> dict[str, Any]:
    kept = _changed(section)
    content = section.model_dump(mode="json")
    return {k: v for k, v in content.items() if k in kept or k not in _NEW_KEYS}
