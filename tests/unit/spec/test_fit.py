"""Keys of a spec that mean nothing for the rows are refused, once it is known what these are."""

import pytest

from orchestrator.spec.build import build_spec
from orchestrator.spec.fit import check_fit, resolved
from tests.unit.workers.data.data_sets import CLASSES, NUMBER, TOKENS, VECTORS, shape_of
from workers.data.kinds import DataShape, ImageInput
from workers.errors import InputError

GESTURES, YIELDS = shape_of(VECTORS, CLASSES), shape_of(VECTORS, NUMBER)
TEXTS = shape_of(TOKENS, CLASSES)


def fit(shape: DataShape, *assignments: str) -> None:
    check_fit(build_spec(assignments=["dataset.name=parquet:rows", *assignments]), shape)


@pytest.mark.parametrize(
    ("shape", "assignment", "cause", "cure"),
    [
        (GESTURES, "augment.shift_px=1", "augment is for images", "leave all of it out but"),
        (
            TEXTS,
            "augment.offset=0.1",
            "augment.offset is for sequences of numbers",
            "leave augment.offset out",
        ),
        (TEXTS, "augment.noise=0.1", "augment.noise is for numbers", "leave augment.noise out"),
        (GESTURES, "model.read=columns", "model.read is for images", "leave model.read out"),
        (GESTURES, "model.embedding_size=4", "has no tokens", "--inputs COLUMN"),
        (TEXTS, "model.embedding_size=0", "model.embedding_size is 0", "model.embedding_size=32"),
        (GESTURES, "training.loss=huber", "'y' is one of 2 classes", "--task regression"),
        (YIELDS, "training.loss=cross-entropy", "'y' is a number", "--task classification"),
        (YIELDS, "training.class_weights=balanced", "'y' is a number", "--task classification"),
        (YIELDS, "training.label_smoothing=0.1", "'y' is a number", "--task classification"),
        (YIELDS, "training.metric=validation_accuracy", "'y' is a number", "--task classification"),
        (
            GESTURES,
            "training.class_weights={'yes': 2}",
            "training.class_weights does not name 'no', a class of the target 'y'",
            "a number for each of its classes: no, yes",
        ),
        (
            GESTURES,
            "training.class_weights={'yes': 2, 'no': 1, maybe: 1}",
            "training.class_weights names 'maybe', no class of the target 'y'",
            "a number for each of its classes: no, yes",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(
    shape: DataShape, assignment: str, cause: str, cure: str
) -> None:
    with pytest.raises(InputError) as caught:
        fit(shape, assignment)
    assert cause in caught.value.cause and cure in caught.value.cure


def test_images_are_not_offered_what_only_tables_have() -> None:
    digits = GESTURES.model_copy(update={"input": ImageInput(height=2, width=2)})
    with pytest.raises(InputError) as caught:
        fit(digits, "training.loss=mae")
    assert caught.value.cure == "leave it out"


def test_rows_that_an_older_release_cut_have_no_balance() -> None:
    old = GESTURES.model_copy(update={"target": CLASSES.model_copy(update={"train_counts": ()})})
    with pytest.raises(InputError, match="sequences was cut by an older rnnjob"):
        fit(old, "training.class_weights=balanced")


def test_what_has_a_meaning_is_taken() -> None:
    fit(GESTURES, "training.class_weights=balanced", "training.label_smoothing=0.1")
    fit(GESTURES, "training.class_weights={'yes': 2, 'no': 1}", "training.loss=cross-entropy")
    fit(YIELDS, "training.loss=mae", "training.metric=validation_loss")
    fit(TEXTS, "model.embedding_size=4")


@pytest.mark.parametrize(
    ("names", "weights"), [(("0", "1"), "{0: 1, 1: 3}"), (("false", "true"), "{false: 1, true: 3}")]
)
def test_a_weight_is_given_to_a_class_as_yaml_writes_it(
    names: tuple[str, ...], weights: str
) -> None:
    target = CLASSES.model_copy(update={"names": names})
    fit(shape_of(VECTORS, target), f"training.class_weights={weights}")


def test_keeping_the_best_needs_validation_rows() -> None:
    none = GESTURES.model_copy(update={"validation_rows": 0})
    with pytest.raises(InputError, match="needs validation rows"):
        fit(none, "training.keep=best")
    fit(none, "training.keep=last")
    for shape, kept in ((none, "last"), (GESTURES, "best")):
        fit(shape)
        spec = build_spec(assignments=["dataset.name=parquet:rows"])
        assert resolved(spec, shape).training.keep == kept


def test_the_best_epoch_of_numbers_is_that_with_the_lowest_loss() -> None:
    spec = build_spec(assignments=["dataset.name=parquet:rows"])
    assert resolved(spec, YIELDS).training.metric == "validation_loss"
    assert resolved(spec, GESTURES).training.metric == "validation_accuracy"
