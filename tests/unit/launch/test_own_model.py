"""Submitting, resuming and copying a job with a model of the user's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import runs
from orchestrator.launch.model_code import stored_code
from orchestrator.launch.resumption import check_resumption
from orchestrator.launch.submission import check_new_run
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import read_spec
from tests.unit.fakes import FakeLauncher, tiny_spec
from tests.unit.workers.models.own.sources import GOOD
from workers.errors import InputError, ModelError, StorageError
from workers.records.run_folder import RunFolder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(GOOD)
    return tmp_path


def spec(folder: Path, **values: Any) -> JobSpec:
    return tiny_spec(folder, **{"model.class_path": "net.py:Net", **values})


def ended(run: RunFolder) -> RunFolder:
    runs.write_status(run, replace(runs.read_status(run), state="STOPPED", exit_code=5))
    return run


def test_the_run_folder_has_the_code_and_names_its_hash(here: Path) -> None:
    checked = check_new_run(spec(here), FakeLauncher(), "run-1")
    assert not (here / "runs").exists()
    run = checked.create_run()
    stored = read_spec(run)
    assert stored == checked.spec and stored.model.code_sha256
    assert stored_code(run, stored) == replace(checked.code, beside=frozenset())  # type: ignore[type-var]
    assert (here / "runs/run-1/model_code/net.py").read_text() == GOOD


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("def Net(:\n", "SyntaxError"),
        ("import no_such_package", "no_such_package"),
        (GOOD.replace("nn.LayerNorm", "nn.BatchNorm1d"), "norm.running_mean"),
        (GOOD.replace("num_outputs)\n\n", "num_outputs + 1)\n\n"), "(4, 11), not (4, 10)"),
    ],
)
def test_a_model_that_is_refused_leaves_no_run(here: Path, text: str, cause: str) -> None:
    (here / "net.py").write_text(text)
    with pytest.raises(ModelError) as caught:
        check_new_run(spec(here), FakeLauncher())
    assert cause in caught.value.cause and caught.value.exit_code == 2
    assert not (here / "runs").exists()


def test_a_warning_is_told_before_the_job_starts(here: Path) -> None:
    unused = "self.unused = nn.Linear(1, 1)\n        self.head ="
    (here / "net.py").write_text(GOOD.replace("self.head =", unused))
    warnings = check_new_run(spec(here), FakeLauncher()).warnings()
    assert any("unused.weight and 1 more never gets a gradient" in text for text in warnings)


@pytest.mark.parametrize(
    ("launcher", "pip", "is_tried"),
    [
        (FakeLauncher(mode=runs.LOCAL), [], True),
        (FakeLauncher(mode=runs.LOCAL), ["x"], True),
        (FakeLauncher(mode=runs.RAY), [], True),
        (FakeLauncher(mode=runs.RAY), ["x"], False),
        (FakeLauncher(mode=runs.CLUSTER, address="http://there:8265"), [], False),
    ],
)
def test_it_is_tried_here_if_this_machine_has_what_it_needs(
    here: Path, launcher: FakeLauncher, pip: list[str], is_tried: bool
) -> None:
    (here / "net.py").write_text("import x_that_is_only_there\n")
    wanted = spec(here, **{"env.pip": pip})
    if is_tried:
        with pytest.raises(ModelError, match="x_that_is_only_there"):
            check_new_run(wanted, launcher)
    else:
        assert check_new_run(wanted, launcher).code


def test_a_resumed_run_keeps_its_code_though_the_file_has_changed(here: Path) -> None:
    run = ended(check_new_run(spec(here), FakeLauncher(), "run-1").create_run())
    (here / "net.py").write_text("def Net(:\n")
    resumed = check_resumption(
        run, runs.read_status(run), FakeLauncher(), {"scaling.cpus_per_worker": 1}
    )
    resumed.create_run()
    assert (here / "runs/run-1/model_code/net.py").read_text() == GOOD
    again = check_new_run(read_spec(run), FakeLauncher(), "run-2", stored_code(run, read_spec(run)))
    again.create_run()
    assert (here / "runs/run-2/model_code/net.py").read_text() == GOOD


def test_a_run_whose_code_was_changed_is_not_resumed(here: Path) -> None:
    run = ended(check_new_run(spec(here), FakeLauncher(), "run-1").create_run())
    (here / "runs/run-1/model_code/net.py").write_text("raise SystemExit")
    with pytest.raises(StorageError, match="it was changed"):
        check_resumption(run, runs.read_status(run), FakeLauncher(), {})
    assert runs.read_status(run).state == "STOPPED"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.init_args.hidden", 3),
        ("model.init_args.more", 3),
        ("model.class_path", "net.py:Other"),
        ("model.code_sha256", "0" * 64),
    ],
)
def test_a_resumed_run_cannot_get_another_model(here: Path, key: str, value: object) -> None:
    first = check_new_run(spec(here, **{"model.init_args.hidden": 4}), FakeLauncher(), "run-1")
    run = ended(first.create_run())
    with pytest.raises(InputError, match=f"{key} would change the result"):
        check_resumption(run, runs.read_status(run), FakeLauncher(), {key: value})
