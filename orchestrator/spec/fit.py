"""Whether a spec fits its data set, once it is known what the rows are."""

from orchestrator.datasets.options import EMBEDDING_SIZE
from orchestrator.spec.job_spec import JobSpec
from workers.data.kinds import DataShape
from workers.errors import InputError

_EMBEDDING = "model.embedding_size"


def resolved(spec: JobSpec, shape: DataShape) -> JobSpec:
    """Return the spec with the metric, and the weights to keep, that `auto` stands for."""
    training, values = spec.training, {}
    if training.metric == "auto":
        values["training.metric"] = shape.target.usual_metric
    if training.keep == "auto":
        values["training.keep"] = "best" if shape.validation_rows else "last"
    return spec.with_values(values) if values else spec


def check_fit(spec: JobSpec, shape: DataShape) -> None:
    """Raise InputError if a key of the spec has no meaning for these rows."""
    _check_input(spec, shape)
    shape.target.check_training(spec.training, shape.name, shape.input.is_table)
    if spec.training.keep == "best" and not shape.validation_rows:
        raise InputError(
            "training.keep 'best' needs validation rows, but there are none",
            "hold rows out, or --set training.keep=last",
        )


def _check_input(spec: JobSpec, shape: DataShape) -> None:
    source = shape.input
    for key, is_set, what, cure in (
        ("augment", spec.augment.is_affine, "images", "leave all of it out but augment.noise"),
        ("augment.noise", spec.augment.noise > 0, "numbers", "leave augment.noise out"),
        (
            "augment.offset",
            spec.augment.offset > 0,
            "sequences of numbers",
            "leave augment.offset out",
        ),
        ("model.read", spec.model.read != "rows", "images", "leave model.read out"),
    ):
        if is_set and key not in source.keys:
            raise InputError(f"{key} is for {what}, {shape.name} has {source.noun}", cure)
    if spec.model.class_path is None:
        _check_embedding(spec, shape)


def _check_embedding(spec: JobSpec, shape: DataShape) -> None:
    """Raise InputError unless there is an embedding just where there are tokens."""
    size, has_tokens = spec.model.embedding_size, _EMBEDDING in shape.input.keys
    if has_tokens and not size:
        [column] = shape.input.read_columns
        raise InputError(
            f"column '{column}' of {shape.name} holds tokens, and {_EMBEDDING} is 0",
            f"say how many numbers stand for a token: --set {_EMBEDDING}={EMBEDDING_SIZE}",
        )
    if size and not has_tokens:
        raise InputError(
            f"{_EMBEDDING} is {size}, but {shape.name} has no tokens",
            "leave it out, or name a column of texts or integers: --inputs COLUMN",
        )
