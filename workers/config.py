"""The part of a job's spec that training needs. It is frozen and typed, and imports no torch.

Keys and defaults are a contract: existing `job.yaml` files and scripts depend on them.
"""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, StrictBool, model_validator

from workers.data.base import (
    MAX_FLOAT32,
    Config,
    Fraction,
    NonNegative,
    NonNegativeInt,
    Number,
    Positive,
    PositiveInt,
)
from workers.data.kinds import SPLITS, DataShape, class_name

__all__ = [
    "SPLITS",
    "AugmentConfig",
    "CheckpointConfig",
    "Config",
    "DataShape",
    "LogConfig",
    "ModelConfig",
    "NonNegativeInt",
    "OptimizerConfig",
    "PositiveInt",
    "TrainJob",
    "TrainingConfig",
]

Metric = Literal["auto", "validation_accuracy", "validation_loss"]


Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]


def _finite_json(value: Any) -> Any:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError("write texts, finite numbers, booleans, lists and mappings") from error
    return value


def _named(value: Any) -> Any:
    """Take classes as YAML has them: integers and booleans, too."""
    if not isinstance(value, dict):
        return value
    return {class_name(key): each for key, each in value.items()}


ByClass = Annotated[dict[str, Positive], BeforeValidator(_named)]
"""A number for each class, by its name."""
_NAMES = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
CLASS_PATH = re.compile(rf"(?:(?P<file>[^\n]*\.py)|(?P<module>{_NAMES})):(?P<attribute>{_NAMES})")
"""What makes a user's own model: a name in a file, or in a module of a package."""


def _class_path(value: str) -> str:
    if not (CLASS_PATH.fullmatch(value) and value.isprintable()):
        raise ValueError("write FILE.py:NAME, or package.module:NAME")
    return value


class ModelConfig(Config):
    """A recurrent network over sequences, or a model of the user's own."""

    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    """`rnn` is the Elman network with tanh."""
    hidden_size: Annotated[int, Field(ge=1, le=2**16, strict=True)] = 128
    """The numbers in the state of a layer."""
    num_layers: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1
    """The layers, each of which reads the states of the one below."""
    embedding_size: Annotated[int, Field(ge=0, le=2**16, strict=True)] = 0
    """The numbers that stand for a token. 0: the data set has no tokens; its integers are
    numbers."""
    bidirectional: StrictBool = False
    """Whether each layer also reads the sequence from its end."""
    dropout: Fraction = 0.0
    """The probability that a feature is dropped, between the layers and before the output."""
    pooling: Literal["last", "mean", "max", "mean-max"] = "last"
    """How the outputs of all time steps become one vector."""
    forget_bias: Annotated[Number, Field(ge=-MAX_FLOAT32, le=MAX_FLOAT32)] = 1.0
    """The first value of the LSTM forget gate's bias (Jozefowicz et al., 2015). Other cells ignore
    it."""
    read: Literal["rows", "columns", "rows-and-columns", "pixels"] = "rows"
    """Which part of an image makes one time step. `rows-and-columns`: a row and, behind it, the
    column of the same number."""
    train_recurrent_bias: StrictBool = True
    """torch's cells add two bias vectors, one for the input and one for the recurrence. `false`
    keeps the latter at zero, as in cells with only one bias: two together learn twice as fast."""
    kernel_init: Literal["uniform", "glorot-uniform"] = "uniform"
    """`uniform`: within 1/sqrt(hidden_size). `glorot-uniform`: Glorot and Bengio, 2010, over the
    joined input and recurrent kernel, with biases of zero."""
    head_init: Literal["uniform", "normal"] = "uniform"
    """The first weights and bias of the output layer: within 1/sqrt(features), or normal(0, 1)."""

    class_path: Annotated[str, AfterValidator(_class_path)] | None = None
    """What makes a model of the user's own. The keys above but `read` are those of the built-in
    model, and are then left as they are."""
    init_args: Annotated[dict[str, JsonValue], BeforeValidator(_finite_json)] = Field(
        default_factory=dict
    )
    """Arguments of what makes the user's own model, beside those that the data set gives."""
    code_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """The hash of that model's code, in the form in which the run folder has it. It is written when
    the job is submitted."""

    @model_validator(mode="after")
    def _is_one_model(self) -> "ModelConfig":
        if self.class_path is None:
            for key in ("init_args", "code_sha256"):
                if getattr(self, key):
                    raise ValueError(
                        f"model.{key} is for a model of your own, and none is named"
                        " | name what makes it: --model FILE.py:NAME"
                    )
            return self
        of_built_in = set(type(self).model_fields) - set(_OF_OWN_MODELS)
        changed = [key for key in sorted(of_built_in) if getattr(self, key) != _default(key)]
        if changed:
            raise ValueError(
                f"{', '.join(f'model.{key}' for key in changed)}: keys of the built-in models, but"
                f" model.class_path names {self.class_path}"
                f" | leave them out, or give them to your model: model.init_args.{changed[0]}"
            )
        return self


_OF_OWN_MODELS = ("class_path", "init_args", "code_sha256", "read")


def _default(key: str) -> Any:
    return ModelConfig.model_fields[key].default


class AugmentConfig(Config):
    """Random changes of the training rows, drawn anew for every row and step."""

    shift_px: NonNegative = 0.0
    """The largest shift along each axis, in pixels."""
    rotate_deg: Annotated[float, Field(ge=0.0, le=180.0)] = 0.0
    """The largest rotation in either direction, in degrees."""
    scale: Fraction = 0.0
    """The largest relative change of size: 0.1 means 90% to 110%."""
    shear: Fraction = 0.0
    """The largest horizontal shear, as the tangent of its angle."""
    noise: NonNegative = 0.0
    """The standard deviation of Gaussian noise on each number that the model reads. With
    `dataset.normalize: standard`, 1 is the standard deviation of the feature."""
    offset: NonNegative = 0.0
    """The standard deviation of a Gaussian number for each feature of a sequence of numbers, added
    at all its steps, as the level of a sensor changes from recording to recording. 1 is the
    standard deviation of the feature, as for `noise`."""

    @property
    def is_affine(self) -> bool:
        """Whether images are shifted, rotated, scaled or sheared."""
        return any((self.shift_px, self.rotate_deg, self.scale, self.shear))


class OptimizerConfig(Config):
    """The optimizer and its constants."""

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    """How a gradient changes the weights."""
    lr: Annotated[Number, Field(gt=0.0, le=MAX_FLOAT32)] = 0.016
    """The peak learning rate."""
    weight_decay: Annotated[Number, Field(ge=0.0, le=MAX_FLOAT32)] = 0.1
    """How strongly weights are drawn to zero; `adamw` does that apart from the gradient."""
    momentum: Fraction = 0.0
    """The momentum of `sgd`. Other optimizers ignore it."""


class TrainingConfig(Config):
    """What decides the weights, beside the data and the model."""

    epochs: PositiveInt = 5
    """The number of passes over the training rows."""
    steps: PositiveInt | None = None
    """The job ends after so many steps, even within an epoch; `epochs` is then ignored."""
    earlier_ends: tuple[PositiveInt, ...] = ()
    """The steps at which the run had ended before it was extended. The schedule is laid out over
    each in turn, and then over the whole. `rnnjob resume --set training.epochs=N` writes this."""
    global_batch_size: PositiveInt = 512
    """The rows of one step, over all shards. It must be a multiple of `dataset.num_shards`."""
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: Literal["constant", "one-cycle", "cosine"] = "one-cycle"
    """How the learning rate changes over the steps."""
    gradient_clip: NonNegative = 1.0
    """The largest L2 norm of the gradient; 0 means no limit."""
    bptt_steps: NonNegativeInt = 0
    """The number of time steps through which gradients flow back; 0 means all."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` is resolved once, where the job starts, and the result is written into the run."""
    gradients: Literal["exact", "fused"] = "exact"
    """`exact`: one gradient per shard, summed as a fixed tree, with the same bits on any number of
    workers. `fused`: one backward pass per worker and one all-reduce, which gives the same result
    up to rounding."""
    keep: Literal["auto", "best", "last"] = "auto"
    """Whether the final weights are those of the best epoch or of the last step. `auto`: of the
    best epoch, if there are validation rows."""
    metric: Metric = "auto"
    """Whether the best epoch has the highest accuracy or the lowest loss. The other metric breaks
    ties. `auto` is the accuracy for classes, and the loss for numbers."""
    loss: Literal["auto", "cross-entropy", "mse", "mae", "huber"] = "auto"
    """`cross-entropy` is for classes; the others are for numbers, in units of their standard
    deviation. `auto` is `cross-entropy` or `mse`."""
    class_weights: Literal["none", "balanced"] | ByClass = "none"
    """What the loss of a row is multiplied with: a number for each class by its name, or with
    `balanced` the number of rows / (classes * rows of the class), so that all classes weigh the
    same."""
    label_smoothing: Fraction = 0.0
    """The share of a row's probability that is spread over all classes (Szegedy et al., 2016)."""
    seed: Seed = 0
    """The seed of all random numbers."""


class CheckpointConfig(Config):
    """When to save a checkpoint, beside the end of each epoch, and how many to keep."""

    every_steps: NonNegativeInt = 0
    """Save after every so many steps; 0 means not by steps."""
    every_s: NonNegative = 60.0
    """Save after so many seconds; 0 means not by time."""
    keep_latest: PositiveInt = 2
    """How many of the newest checkpoints to keep."""
    keep_best: NonNegativeInt = 1
    """How many of those at the end of a best epoch to keep beside them."""


class LogConfig(Config):
    """What is printed while the job trains."""

    print_every_steps: NonNegativeInt = 0
    """Print the loss and the accuracy every so many steps; 0 means never."""


DEFINITION = 2
"""The version of what a job's result is. It goes up when the same job comes to other bits, and a
checkpoint of one is not continued under another. 1 added the gradients of shards from the first to
the last; 2 adds them as a tree (`workers.shards.tree`) and takes torch's fused optimizers."""


class TrainJob(Config):
    """All that a worker must know: the resolved job, and where its run folder is."""

    run_id: str
    run_uri: str
    fingerprint: str
    """The fingerprint of everything that decides the result."""
    window: PositiveInt | None = None
    """The rows of a shard that are shuffled together; null: all of them. See `dataset.window`."""
    is_streamed: bool = False
    """Whether workers read their rows while they train. They then need a window."""
    lineage: tuple[tuple[int, str], ...] = ()
    """Pairs of a last step and the fingerprint of what decides the checkpoints up to it; ascending,
    see `JobSpec.lineage`."""
    data: DataShape
    model: ModelConfig
    augment: AugmentConfig
    training: TrainingConfig
    checkpoint: CheckpointConfig
    log: LogConfig
    cpus_per_worker: PositiveInt
    owner_term: NonNegativeInt = 0
    """The term of the run's owner, for which the workers write; 0 if nobody else can own the run.
    See `workers.records.owners`."""
    owner_token: str = ""
    mixed_hardware: Literal["error", "allow"] = "error"
    """Whether steps may be computed where other bits come out; see `limits.mixed_hardware`."""
    is_elastic: bool = False
    """Whether the number of workers may change while the job runs."""
    stop_after_steps: PositiveInt | None = None
    """The run stops after so many steps in all; see `limits.steps` of the spec."""

    @model_validator(mode="after")
    def _check(self) -> "TrainJob":
        if self.training.precision == "auto":
            raise ValueError("precision must be resolved before training: fp32 or bf16")
        if self.training.global_batch_size % self.data.num_shards:
            raise ValueError("global_batch_size must be a multiple of num_shards")
        if self.is_streamed and self.window is None:
            raise ValueError("rows can be streamed only within windows: dataset.window")
        return self

    def checkpoint_fingerprint(self, step: int) -> str:
        """Return the fingerprint of what decides a checkpoint of that step."""
        fingerprints = (fingerprint for end, fingerprint in self.lineage if step <= end)
        return next(fingerprints, self.fingerprint)

    @property
    def rows_per_shard_step(self) -> int:
        """The number of rows that each shard adds to a step."""
        return self.training.global_batch_size // self.data.num_shards
