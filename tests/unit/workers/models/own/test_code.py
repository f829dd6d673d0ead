"""The code of a model in a run folder, and its hash."""

import json
import os
from pathlib import Path

import pytest

from tests.unit.folders import empty_run
from workers.errors import StorageError
from workers.models.own.code import MAX_FILE_BYTES, ModelCode, is_safe, read_code, write_code
from workers.records.run_folder import RunFolder

CODE = ModelCode({"net/__init__.py": b"", "net/deep/layers.py": b"x = 1\n", "net/a.json": b"{}"})


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = empty_run(tmp_path / "run")
    run.storage.create()
    write_code(run, CODE)
    return run


def path_of(run: RunFolder, name: str) -> Path:
    assert run.storage.local_path is not None
    return run.storage.local_path / name


def test_the_code_comes_back_as_it_was(run: RunFolder, tmp_path: Path) -> None:
    code = read_code(run, CODE.sha256)
    assert code.files == CODE.files
    code.unpack(tmp_path / "copy")
    assert (tmp_path / "copy/net/deep/layers.py").read_bytes() == b"x = 1\n"


def test_the_hash_depends_on_names_and_contents_and_not_on_their_order() -> None:
    reverse = ModelCode(dict(reversed(CODE.files.items())))
    assert reverse.sha256 == CODE.sha256
    others = [
        {**CODE.files, "net/a.json": b"{} "},
        {**CODE.files, "net/b.json": b""},
        {f"x{name}": content for name, content in CODE.files.items()},
        {"net/__init__.py": b"net/deep/layers.py", "net/a.json": b"{}"},
    ]
    assert len({CODE.sha256, *(ModelCode(files).sha256 for files in others)}) == 5


def test_files_that_the_code_does_not_list_are_ignored(run: RunFolder) -> None:
    path_of(run, "model_code/net/__pycache__").mkdir()
    path_of(run, "model_code/net/more.py").write_text("raise SystemExit")
    assert read_code(run, CODE.sha256).files == CODE.files


def refusal(run: RunFolder, sha256: str = CODE.sha256) -> str:
    with pytest.raises(StorageError) as caught:
        read_code(run, sha256)
    assert caught.value.cure and "\n" not in caught.value.cause
    return caught.value.cause


def test_changed_code_is_refused(run: RunFolder) -> None:
    path_of(run, "model_code/net/deep/layers.py").write_text("x = 2\n")
    assert "it was changed" in refusal(run)


def test_code_of_another_run_is_refused(run: RunFolder) -> None:
    assert "it was changed" in refusal(run, "0" * 64)


def test_a_missing_file_is_named(run: RunFolder) -> None:
    path_of(run, "model_code/net/a.json").unlink()
    assert "a.json is missing" in refusal(run)
    path_of(run, "model_code.json").unlink()
    assert "model_code.json is missing" in refusal(run)


def test_a_file_that_is_too_large_or_no_file_is_refused(run: RunFolder) -> None:
    path = path_of(run, "model_code/net/a.json")
    path.write_bytes(b" " * (MAX_FILE_BYTES + 1))
    assert "no more than" in refusal(run)
    path.unlink()
    os.mkfifo(path)
    assert "named pipe" in refusal(run)


@pytest.mark.parametrize(
    "files",
    [
        ["../job.yaml"], ["/etc/passwd"], ["a/../b.py"], ["a//b.py"], ["./a.py"], [""], [".."],
        ["a\\b.py"], ["c:x.py"], ["a\x00.py"], ["a.py/"], [1], [["a"]], [], "net", None,
        ["a.py"] * 1001,
    ],
)  # fmt: skip
def test_a_list_with_paths_that_lead_elsewhere_is_refused(run: RunFolder, files: object) -> None:
    path_of(run, "model_code.json").write_text(json.dumps({"files": files}))
    refusal(run)


def test_a_link_out_of_the_run_folder_is_not_followed(run: RunFolder, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"{}")
    path = path_of(run, "model_code/net/a.json")
    path.unlink()
    path.symlink_to(secret)
    assert "symbolic link" in refusal(run)


@pytest.mark.parametrize("path", ["a.py", "a/b/c.json", "a b.py", "ü.py", ".hidden"])
def test_usual_paths_are_safe(path: str) -> None:
    assert is_safe(path)
