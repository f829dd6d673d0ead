"""The text of a model card, whatever the names in the data."""

from pathlib import Path

import yaml

from orchestrator.spec.build import build_spec
from orchestrator.trained.model_card import card_files
from orchestrator.trained.trained_run import TrainedRun
from tests.unit.folders import empty_run
from tests.unit.simulated import tiny_job
from tests.unit.workers.data.data_sets import CLASSES, TOKENS, shape_of

FACTS = {
    "has_lengths": True,
    "own": None,
    "network": {"class_path": None},
    "weights_sha256": "f" * 64,
    "precision_of_training": "fp32",
}


def files_of(folder: Path, checkpoint: str | None = None) -> dict[str, str]:
    target = CLASSES.model_copy(update={"names": ("a`\n# b", *map(str, range(30)))})
    job = tiny_job(folder, data=shape_of(TOKENS, target))
    spec = build_spec(flags={"dataset.data_dir": "/home/me/mnist"})
    run = empty_run(folder)
    run.write_json(run.RESULT, {"test_accuracy": 0.5, "validation_accuracy": "none"})
    files = card_files(TrainedRun(run, spec, job, checkpoint), FACTS)
    return {name: content.decode() for name, content in files.items()}


def test_a_name_is_no_part_of_the_form_of_the_page(tmp_path: Path) -> None:
    card = files_of(tmp_path / "run")["README.md"]
    assert '`"a\\u0060\\n# b", "0", "1"' in card and "and 11 more" in card
    assert "model(torch.ones(1, 9, dtype=torch.int64), torch.tensor([9]))" in card


def test_the_metrics_are_those_of_the_final_model(tmp_path: Path) -> None:
    assert "- test accuracy: 50.00%\n" in files_of(tmp_path / "run")["README.md"]
    card = files_of(tmp_path / "run", "best")["README.md"]
    assert "50.00%" not in card and "rnnjob evaluate run:best" in card


def test_the_spec_names_no_place_of_this_machine(tmp_path: Path) -> None:
    text = files_of(tmp_path / "run")["job.yaml"]
    assert "/home/me" not in text
    assert list(yaml.safe_load(text)) == ["name", "dataset", "model", "augment", "training"]
