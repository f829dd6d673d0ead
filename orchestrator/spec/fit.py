"""Whether a spec fits its data set, once it is known what the rows are."""

from orchestrator.datasets.options import EMBEDDING_SIZE
from orchestrator.spec.job_spec import JobSpec
from workers.data.kinds import (
    ClassTarget,
    DataShape,
    ImageInput,
    NumberTarget,
    TokenInput,
)
from workers.errors import InputError

_ACCURACY = "validation_accuracy"


def resolved(spec: JobSpec, shape: DataShape) -> JobSpec:
    """Return the spec with the metric, and the weights to keep, that `auto` stands for."""
    training, values = spec.training, {}
    if training.metric == "auto":
        is_number = isinstance(shape.target, NumberTarget)
        values["training.metric"] = "validation_loss" if is_number else _ACCURACY
    if training.keep == "auto":
        values["training.keep"] = "best" if shape.validation_rows else "last"
    return spec.with_values(values) if values else spec


def check_fit(spec: JobSpec, shape: DataShape) -> None:
    """Raise InputError if a key of the spec has no meaning for these rows."""
    _check_input(spec, shape)
    if isinstance(shape.target, NumberTarget):
        _check_number(spec, shape.target)
    else:
        _check_classes(spec, shape, shape.target)
    if spec.training.keep == "best" and not shape.validation_rows:
        raise InputError(
            "training.keep 'best' needs validation rows, but there are none",
            "hold rows out, or --set training.keep=last",
        )


def _check_input(spec: JobSpec, shape: DataShape) -> None:
    source = shape.input
    if not isinstance(source, ImageInput):
        for key, is_set, cure in (
            ("augment", spec.augment.is_affine, "leave all of it out but augment.noise"),
            ("model.read", spec.model.read != "rows", "leave model.read out"),
        ):
            if is_set:
                raise InputError(f"{key} is for images, {shape.name} has sequences", cure)
    if isinstance(source, TokenInput) and spec.augment.noise:
        raise InputError(
            f"augment.noise is for numbers, {shape.name} has tokens", "leave augment.noise out"
        )
    if spec.model.class_path is not None:
        return
    size = spec.model.embedding_size
    if isinstance(source, TokenInput) and not size:
        raise InputError(
            f"column '{source.column}' of {shape.name} holds tokens, and model.embedding_size is 0",
            f"say how many numbers stand for a token: --set model.embedding_size={EMBEDDING_SIZE}",
        )
    if size and not isinstance(source, TokenInput):
        raise InputError(
            f"model.embedding_size is {size}, but {shape.name} has no tokens",
            "leave it out, or name a column of texts or integers: --inputs COLUMN",
        )


def _check_number(spec: JobSpec, target: NumberTarget) -> None:
    training = spec.training
    for key, is_set in (
        ("class_weights", training.class_weights != "none"),
        ("label_smoothing", training.label_smoothing > 0),
        ("loss", training.loss == "cross-entropy"),
        ("metric", training.metric == _ACCURACY),
    ):
        if is_set:
            raise InputError(
                f"training.{key} is {getattr(training, key)}, but the target "
                f"'{target.column}' is a number",
                "leave it out, or predict classes: --task classification",
            )


def _check_classes(spec: JobSpec, shape: DataShape, target: ClassTarget) -> None:
    training, is_image = spec.training, isinstance(shape.input, ImageInput)
    if training.loss not in ("auto", "cross-entropy"):
        raise InputError(
            f"training.loss is {training.loss}, but the target '{target.column}' is one of "
            f"{target.num_outputs} classes",
            "leave it out" + ("" if is_image else ", or predict numbers: --task regression"),
        )
    weights = training.class_weights
    if isinstance(weights, dict) and set(weights) != set(target.names):
        wrong = min(set(weights) ^ set(target.names))
        says = f"names '{wrong}', no" if wrong in weights else f"does not name '{wrong}', a"
        names = ", ".join(target.names[:20])
        raise InputError(
            f"training.class_weights {says} class of the target '{target.column}'",
            f"give a number for each of its classes: {names}",
        )
    if weights == "balanced" and not target.train_counts:
        raise InputError(
            f"{shape.name} was cut by an older rnnjob, which did not count the rows of its classes",
            "cut the data set again: rnnjob data prepare --force",
        )
