"""JobSpec: a whole job, validated and immutable, with its fingerprint and its lineage."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

import yaml
from pydantic import Field, model_validator

from orchestrator.spec.sections import DatasetConfig, LimitsConfig, ScalingConfig
from orchestrator.spec.tree import set_key
from orchestrator.spec.validation import validated
from workers.config import (
    AugmentConfig,
    CheckpointConfig,
    Config,
    LogConfig,
    ModelConfig,
    TrainingConfig,
)
from workers.storage.credentials import refuse_credentials

_MAX_EXTRA_SHARDS = 1000
"""How far above the number of workers to search for a number of shards to propose."""


class JobSpec(Config):
    """A whole job. Only `dataset`, `model`, `augment` and `training` decide its result."""

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
        """Check what involves several keys. An error's text is its cause and cure, split by |."""
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
            candidates = range(most, min(batch, most + _MAX_EXTRA_SHARDS) + 1)
            more = next((n for n in candidates if batch % n == 0), None)
            raise ValueError(
                f"workers {most} is above num_shards {shards}, and each worker needs a shard"
                f" | take at most {shards} workers"
                + (f", or more shards: --set dataset.num_shards={more}" if more else "")
            )
        if self.dataset.validation_rows == 0 and self.training.keep == "best":
            raise ValueError(
                "training.keep 'best' needs validation rows, but validation_rows is 0"
                " | hold rows out, or --set training.keep=last"
            )
        return self

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
        return self._sha256(data_fingerprint, self.training.model_dump(mode="json"))

    def lineage(self, data_fingerprint: str, num_steps: int) -> tuple[tuple[int, str], ...]:
        """Return the fingerprints that the run's checkpoints must have.

        Each entry is the last step for which a fingerprint holds, ascending, and the fingerprint. A
        run that is extended has several entries, because it goes on from checkpoints of the shorter
        run. The length of a run changes its steps only through the learning rate schedule.
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
