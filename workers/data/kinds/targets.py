"""The kinds of targets: what a job learns to say of a row.

What a kind means for training is in `workers.data.targets.rules`. Imports no torch.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from workers.data.base import Config, NonNegativeInt, Number, Positive
from workers.errors import InputError

MAX_TARGET = 1e100
"""The largest number to predict: its square is a float64, too."""
_ACCURACY = "validation_accuracy"
_MOST_NAMES = 20


def class_name(value: object) -> str:
    """Return the name of the class that a text, an integer or a boolean stands for."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class TrainingKeys(Protocol):
    """The keys of a job's training that are about its target."""

    @property
    def loss(self) -> str: ...

    @property
    def metric(self) -> str: ...

    @property
    def class_weights(self) -> str | Mapping[str, float]: ...

    @property
    def label_smoothing(self) -> float: ...


class ClassTarget(Config):
    """One of several classes, int64."""

    task: ClassVar = "classification"
    usual_metric: ClassVar = _ACCURACY
    """What `training.metric: auto` stands for."""

    kind: Literal["classes"] = "classes"
    column: str
    names: Annotated[tuple[str, ...], Field(min_length=1)]
    """The classes in ascending order of their values."""
    values: Literal["text", "integer", "boolean"] = "integer"
    """What the column holds."""
    train_counts: tuple[NonNegativeInt, ...] = ()
    """How many training rows each class has. Old data sets do not have it."""

    @property
    def num_outputs(self) -> int:
        """How many numbers the model computes for a row."""
        return len(self.names)

    @property
    def identity(self) -> list[object]:
        """What tells two data sets apart whose stored targets are equal."""
        return ["classes", self.values, list(self.names)]

    def check_training(self, training: TrainingKeys, data_name: str, is_table: bool) -> None:
        """Raise InputError if a key of the training has no meaning for these targets.

        `is_table`: whether the target is a column of a user's table.
        """
        if training.loss not in ("auto", "cross-entropy"):
            raise InputError(
                f"training.loss is {training.loss}, but the target '{self.column}' is one of "
                f"{self.num_outputs} classes",
                "leave it out" + (", or predict numbers: --task regression" if is_table else ""),
            )
        weights = training.class_weights
        if isinstance(weights, dict) and set(weights) != set(self.names):
            wrong = min(set(weights) ^ set(self.names))
            says = f"names '{wrong}', no" if wrong in weights else f"does not name '{wrong}', a"
            names = ", ".join(self.names[:_MOST_NAMES])
            raise InputError(
                f"training.class_weights {says} class of the target '{self.column}'",
                f"give a number for each of its classes: {names}",
            )
        if weights == "balanced" and not self.train_counts:
            raise InputError(
                f"{data_name} was cut by an older rnnjob, which did not count the rows of its "
                "classes",
                "cut the data set again: rnnjob data prepare --force",
            )

    def check_values(self, values_N: NDArray[np.generic]) -> None:
        """Raise ValueError if stored targets are none of this kind."""
        lowest, highest = int(values_N.min()), int(values_N.max())
        if lowest < 0 or highest >= self.num_outputs:
            label = lowest if lowest < 0 else highest
            raise ValueError(f"it has a label {label}, but only {self.num_outputs} classes")


class NumberTarget(Config):
    """A number, float32."""

    task: ClassVar = "regression"
    usual_metric: ClassVar = "validation_loss"

    kind: Literal["number"] = "number"
    column: str
    mean: Number
    std: Positive
    """Over the training rows. The model's output is in units of `std` around `mean`."""

    @property
    def num_outputs(self) -> int:
        return 1

    @property
    def identity(self) -> list[object]:
        return ["number"]

    def check_training(self, training: TrainingKeys, data_name: str, is_table: bool) -> None:
        for key, is_set in (
            ("class_weights", training.class_weights != "none"),
            ("label_smoothing", training.label_smoothing > 0),
            ("loss", training.loss == "cross-entropy"),
            ("metric", training.metric == _ACCURACY),
        ):
            if is_set:
                raise InputError(
                    f"training.{key} is {getattr(training, key)}, but the target "
                    f"'{self.column}' is a number",
                    "leave it out, or predict classes: --task classification",
                )

    def check_values(self, values_N: NDArray[np.generic]) -> None:
        if not (np.abs(values_N.astype(np.float64)) <= MAX_TARGET).all():
            raise ValueError("it has a target that is no finite number")


Target = Annotated[ClassTarget | NumberTarget, Field(discriminator="kind")]
