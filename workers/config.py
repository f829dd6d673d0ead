"""The part of a job's spec that training needs. Frozen, typed, no torch.

Keys and defaults are a contract: `job.yaml` files and scripts hold on to them.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, model_validator

SPLITS = ("train", "validation", "test")
Metric = Literal["validation_accuracy", "validation_loss"]


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("Input should be a valid number")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("Input should be a finite number")
    return value


_Number = BeforeValidator(_number)
_FLOAT32 = 3e37
"""What torch can take for a number of this type."""
NonNegativeInt = Annotated[int, Field(ge=0, strict=True)]
PositiveInt = Annotated[int, Field(ge=1, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Fraction = Annotated[float, _Number, Field(ge=0.0, lt=1.0)]
NonNegative = Annotated[float, _Number, Field(ge=0.0)]
Positive = Annotated[float, _Number, Field(gt=0.0)]


class Config(BaseModel):
    """Base of all sections: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(Config):
    """A recurrent classifier over sequences."""

    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    """`rnn` is Elman's with tanh."""
    hidden_size: Annotated[int, Field(ge=1, le=2**16, strict=True)] = 128
    num_layers: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1
    bidirectional: StrictBool = False
    dropout: Fraction = 0.0
    """Chance of dropping a feature, between the layers and before the classifier."""
    pooling: Literal["last", "mean", "max"] = "last"
    """How the outputs of all time steps become one vector."""
    forget_bias: Annotated[float, _Number, Field(ge=-_FLOAT32, le=_FLOAT32)] = 1.0
    """First value of the LSTM forget gate's bias (Jozefowicz et al., 2015); unused by others."""
    read: Literal["rows", "columns", "pixels"] = "rows"
    """What of an image makes one time step."""
    train_recurrent_bias: StrictBool = True
    """torch's cells add two bias vectors, the input's and the recurrence's. false keeps the latter
    at zero, as in cells that have only one: two together learn twice as fast."""
    kernel_init: Literal["uniform", "glorot-uniform"] = "uniform"
    """`uniform`: within 1/sqrt(hidden_size); `glorot-uniform`: Glorot and Bengio, 2010, over the
    joined input and recurrent kernel, biases zero."""
    head_init: Literal["uniform", "normal"] = "uniform"
    """Classifier's weights and bias: within 1/sqrt(features), or normal(0, 1)."""


class AugmentConfig(Config):
    """Random affine changes of training images, drawn anew for every row and step."""

    shift_px: NonNegative = 0.0
    """Largest shift along each axis, pixels."""
    rotate_deg: Annotated[float, Field(ge=0.0, le=180.0)] = 0.0
    """Largest rotation either way, degrees."""
    scale: Fraction = 0.0
    """Largest relative change of size: 0.1 is 90% to 110%."""
    shear: Fraction = 0.0
    """Largest horizontal shear, as the tangent of its angle."""

    @property
    def is_on(self) -> bool:
        return any((self.shift_px, self.rotate_deg, self.scale, self.shear))


class OptimizerConfig(Config):
    name: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: Annotated[float, _Number, Field(gt=0.0, le=_FLOAT32)] = 0.016
    """Peak learning rate."""
    weight_decay: Annotated[float, _Number, Field(ge=0.0, le=_FLOAT32)] = 0.1
    momentum: Fraction = 0.0
    """Of `sgd` only."""


class TrainingConfig(Config):
    """What decides the weights, beside data and model."""

    epochs: PositiveInt = 5
    steps: PositiveInt | None = None
    """End after so many steps, in mid-epoch if need be; `epochs` is then not used."""
    earlier_ends: tuple[PositiveInt, ...] = ()
    """Steps at which the run had ended before it was extended. The schedule is laid out over each
    in turn, and then over the whole; written by `rnnjob resume --set training.epochs=N`."""
    global_batch_size: PositiveInt = 512
    """Rows of one step, over all shards; a multiple of `dataset.num_shards`."""
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: Literal["constant", "one-cycle", "cosine"] = "one-cycle"
    gradient_clip: NonNegative = 1.0
    """Largest L2 norm of the gradient; 0 leaves it as it is."""
    bptt_steps: NonNegativeInt = 0
    """Time steps through which gradients flow back; 0 is all of them."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` is settled once, where the job starts, and written into the run."""
    gradients: Literal["exact", "fused"] = "exact"
    """`exact`: per shard, summed in shard order, same bits on any number of workers. `fused`: one
    backward pass per worker and one all-reduce, same result up to rounding."""
    keep: Literal["best", "last"] = "best"
    """Final weights: of the best epoch, or of the last step."""
    metric: Metric = "validation_accuracy"
    """What makes an epoch the best, the highest accuracy or the lowest loss; the other breaks
    ties."""
    seed: Seed = 0


class CheckpointConfig(Config):
    """When to save, beside the end of each epoch, and how much to keep."""

    every_steps: NonNegativeInt = 0
    """0: not by steps."""
    every_s: NonNegative = 60.0
    """Seconds; 0: not by time."""
    keep_latest: PositiveInt = 2
    keep_best: NonNegativeInt = 1


class LogConfig(Config):
    print_every_steps: NonNegativeInt = 0
    """A line with loss and accuracy every so many steps; 0: none."""


class DataShape(Config):
    """What the prepared data set holds."""

    name: str
    fingerprint: str
    num_shards: PositiveInt
    num_classes: PositiveInt
    height: PositiveInt
    width: PositiveInt
    train_rows: PositiveInt
    validation_rows: NonNegativeInt
    test_rows: PositiveInt
    pixel_mean: Annotated[float, _Number] = 0.0
    pixel_std: Positive = 1.0
    """Pixels within [0, 1] have this subtracted, and are divided by that."""
    test_head_rows: NonNegativeInt = 0
    """Accuracy on the first so many test rows is told beside the whole split's; 0: not."""

    def num_rows(self, split: str) -> int:
        return {
            "train": self.train_rows,
            "validation": self.validation_rows,
            "test": self.test_rows,
        }[split]


class TrainJob(Config):
    """All that a worker is told: the resolved job and where its run folder is."""

    run_id: str
    run_uri: str
    fingerprint: str
    """Of everything that decides the result."""
    lineage: tuple[tuple[int, str], ...] = ()
    """Of what decides a checkpoint: last step, fingerprint; see `JobSpec.lineage`."""
    data: DataShape
    model: ModelConfig
    augment: AugmentConfig
    training: TrainingConfig
    checkpoint: CheckpointConfig
    log: LogConfig
    cpus_per_worker: PositiveInt
    stop_after_steps: PositiveInt | None = None
    """Of the whole run; see `limits.steps` of the spec."""

    @model_validator(mode="after")
    def _check(self) -> "TrainJob":
        if self.training.precision == "auto":
            raise ValueError("precision must be settled before training: fp32 or bf16")
        if self.training.global_batch_size % self.data.num_shards:
            raise ValueError("global_batch_size must be a multiple of num_shards")
        return self

    def checkpoint_fingerprint(self, step: int) -> str:
        """Of what decides a checkpoint of that step."""
        return next((found for end, found in self.lineage if step <= end), self.fingerprint)

    @property
    def rows_per_shard_step(self) -> int:
        return self.training.global_batch_size // self.data.num_shards
