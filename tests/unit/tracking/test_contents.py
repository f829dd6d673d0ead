"""What is sent of a run, without a tracker."""

import pytest

from orchestrator.runs import RunStatus
from orchestrator.spec.build import build_spec
from orchestrator.tracking.contents import Mark, metrics, parameters, tags
from orchestrator.tracking.sender import _batches
from tests.unit.runs.whole_records import epoch, outcome, start, step
from workers.storage.typed_json import Json


def test_metrics_have_the_names_of_tensorboard_and_no_times_or_counts() -> None:
    assert metrics(step(3)) == {
        "step/loss": 0.5, "step/accuracy": 0.5, "step/lr": 0.1, "step/gradient_norm": 1.5
    }  # fmt: skip
    assert metrics(outcome(3)) == {"test/loss": 0.5, "test/accuracy": 0.5}
    assert metrics(start()) == {}


def test_parameters_are_the_keys_of_the_spec_with_a_mapping_of_the_user_as_one_value() -> None:
    spec = build_spec(
        flags={
            "training.class_weights": {"ä b": 2},
            "model.train_recurrent_bias": False,
            "tracking.mlflow": "http://a",
        }
    )
    found = parameters(spec)
    assert found["training.optimizer.lr"] == "0.016"
    assert found["model.train_recurrent_bias"] == "false"
    assert found["training.class_weights"] == '{"\\u00e4 b": 2.0}'
    assert not [key for key in found if key.startswith("tracking")]


def test_tags_of_a_run_without_a_result_have_no_hash() -> None:
    found = tags(RunStatus("a", "FAILED", "local", "why"), {})
    assert found["rnnjob.state"] == "FAILED" and found["rnnjob.reason"] == "why"
    assert found["rnnjob.weights_sha256"] == ""


def sent_of(records: list[Json], mark: Mark) -> tuple[list[tuple[str, int]], Mark, int]:
    points, total = [], 0
    for batch, after, num in _batches(records, mark):
        assert len(batch) <= 900
        points += [(point.name, point.step) for point in batch]
        mark, total = after, total + num
    return points, mark, total


def test_what_a_restart_computes_again_is_sent_once() -> None:
    first = [start(), *(step(n) for n in range(1, 6)), epoch(1, 5)]
    points, mark, total = sent_of(first, Mark())
    assert total == 6 and mark.steps == (5, 5, -1)
    again = [start(), *(step(n) for n in range(1, 4)), start(3, 2), *(step(n) for n in (4, 5, 6))]
    more, mark, total = sent_of([*again, epoch(1, 5), outcome(6)], Mark.parse(str(mark)))
    assert total == 2 and mark.steps == (6, 5, 6)
    assert {at for name, at in more if name.startswith("step/")} == {6}
    assert not set(points) & set(more)


def test_many_records_are_sent_in_requests_that_mlflow_takes() -> None:
    points, mark, total = sent_of([step(n) for n in range(1, 1001)], Mark())
    assert total == 1000 and len(points) == 4000 and mark.steps[0] == 1000


@pytest.mark.parametrize("text", ["", "[]", "{", '{"step": "1"}', '{"step": null}'])
def test_a_mark_that_is_none_stands_for_nothing_sent(text: str) -> None:
    assert Mark.parse(text) == Mark()
