"""Which files make up the code of a user's own model."""

from pathlib import Path

import pytest

from orchestrator.launch.model_code import code_for, collect
from orchestrator.spec.build import build_spec
from orchestrator.spec.job_spec import JobSpec
from workers.errors import ModelError
from workers.models.own.class_path import ClassPath
from workers.models.own.code import MAX_BYTES, MAX_FILE_BYTES, MAX_FILES, ModelCode


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")


def files(class_path: str) -> list[str]:
    return sorted(collect(ClassPath.parse(class_path)).files)


def refused(class_path: str) -> ModelError:
    with pytest.raises(ModelError) as caught:
        collect(ClassPath.parse(class_path))
    assert caught.value.cure and "\n" not in caught.value.cause
    return caught.value


def test_a_file_is_taken_alone_and_what_is_beside_it_is_remembered(here: Path) -> None:
    write(here, "models/net.py", "models/helpers.py", "models/data/x.csv")
    code = collect(ClassPath.parse("models/net.py:make"))
    assert dict(code.files) == {"net.py": b"# models/net.py\n"}
    assert code.beside == {"helpers", "data"}


def test_a_package_is_taken_with_its_data_and_without_what_is_not_code(here: Path) -> None:
    wanted = ["net/__init__.py", "net/deep/layers.py", "net/words.json"]
    write(here, *wanted, "net/__pycache__/x.cpython-311.pyc", "net/fast.so", "net/.env")
    write(here, "net/.git/config", "net/runs/a/job.yaml", "net/runs/a/status.json", "other.py")
    assert files("net.deep.layers:Layer") == wanted


def test_a_folder_without_init_is_a_package_and_one_without_code_is_none(here: Path) -> None:
    write(here, "net/a.py", "data/x.csv")
    assert files("net.a:make") == ["net/a.py"]
    assert "no module data" in refused("data:make").cause


def test_a_module_of_one_file_is_found_here(here: Path) -> None:
    write(here, "net.py", "other.py")
    assert files("net:make") == ["net.py"]


def test_an_installed_package_is_found(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(here.parent, "installed/net/__init__.py", "installed/one.py")
    monkeypatch.syspath_prepend(str(here.parent / "installed"))
    assert files("net:make") == ["net/__init__.py"]
    assert files("one:make") == ["one.py"]


@pytest.mark.parametrize(
    ("class_path", "cause", "cure"),
    [
        ("nowhere.py:make", "nowhere.py does not exist", "check --model"),
        ("folder.py:make", "folder.py is no file", "check --model"),
        ("no_such_module:make", "there is no module no_such_module", "FILE.py:NAME"),
        ("math:sin", "the module math is not written in Python", "file of your own"),
        ("~nobody_of_this_name/net.py:make", "cannot be read", "check --model"),
    ],
)
def test_what_is_not_there_is_named(here: Path, class_path: str, cause: str, cure: str) -> None:
    (here / "folder.py").mkdir()
    error = refused(class_path)
    assert cause in error.cause and cure in error.cure


def test_a_link_out_of_a_package_is_not_followed(here: Path) -> None:
    write(here, "net/__init__.py", "secret.txt")
    (here / "net/words.txt").symlink_to(here / "secret.txt")
    assert "words.txt leads out of the package" in refused("net:make").cause
    (here / "net/words.txt").unlink()
    (here / "net/again.py").symlink_to("__init__.py")
    assert files("net:make") == ["net/__init__.py", "net/again.py"]


def test_code_that_is_too_large_is_refused(here: Path) -> None:
    write(here, "net/__init__.py", "net/weights.bin")
    (here / "net/weights.bin").write_bytes(b" " * (MAX_FILE_BYTES + 1))
    error = refused("net:make")
    assert "weights.bin has 1MiB" in error.cause.replace(" ", "") or "weights.bin" in error.cause
    assert "keep weights and data elsewhere" in error.cure
    (here / "net/weights.bin").unlink()
    for number in range(MAX_BYTES // MAX_FILE_BYTES + 1):
        (here / f"net/part{number}.bin").write_bytes(b" " * MAX_FILE_BYTES)
    assert "net/part0.bin most of all" in refused("net:make").cause


def test_a_package_of_too_many_files_is_refused(here: Path) -> None:
    write(here, *(f"net/m{number}.py" for number in range(MAX_FILES + 1)))
    assert f"has {MAX_FILES + 1} files" in refused("net:make").cause


def spec(class_path: str, **model: object) -> JobSpec:
    values = {f"model.{key}": value for key, value in model.items()}
    return build_spec(flags={"model.class_path": class_path, **values})


def test_a_new_job_names_its_code_as_the_run_folder_has_it(here: Path) -> None:
    write(here, "models/net.py")
    named, code = code_for(spec(str(here / "models/net.py") + ":make"))
    assert code is not None
    assert named.model.class_path == "net.py:make"
    assert named.model.code_sha256 == code.sha256
    assert code_for(named, code) == (named, code)


def test_the_fingerprint_follows_the_code_and_not_its_place(here: Path) -> None:
    write(here, "net.py", "a/net.py")
    (here / "a/net.py").write_bytes((here / "net.py").read_bytes())
    data = "d" * 64
    first = code_for(spec("net.py:make"))[0].fingerprint(data)
    assert code_for(spec("a/net.py:make"))[0].fingerprint(data) == first
    (here / "net.py").write_text("# another\n")
    assert code_for(spec("net.py:make"))[0].fingerprint(data) != first


def test_other_code_than_a_spec_names_is_refused(here: Path) -> None:
    write(here, "net.py")
    with pytest.raises(ModelError, match="not the one that model") as caught:
        code_for(spec("net.py:make", code_sha256="0" * 64))
    assert "--set model.code_sha256=null" in caught.value.cure


def test_stored_code_is_used_instead_of_that_on_disk(here: Path) -> None:
    stored = ModelCode({"net.py": b"# stored\n"})
    named = spec("net.py:make", code_sha256=stored.sha256)
    assert code_for(named, stored) == (named, stored)


def test_a_built_in_model_has_no_code() -> None:
    assert code_for(build_spec()) == (build_spec(), None)
