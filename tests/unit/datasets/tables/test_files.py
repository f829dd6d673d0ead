"""Which files a URI names, and how they are read."""

from pathlib import Path

import pytest

from orchestrator.datasets.options import TableOptions
from orchestrator.datasets.tables import files as files_module
from orchestrator.datasets.tables import prepare as prepare_module
from orchestrator.datasets.tables.cut import cut_tables
from orchestrator.datasets.tables.files import absolute_uri, find_tables
from tests.unit.datasets.tables.made import cut, rows, write
from workers.errors import DataError, InputError

NAMES = [
    "b.parquet",
    "a/z.parquet",
    "a/b/1.PARQUET",
    "a2.pq",
    "_x/a.parquet",
    ".h.parquet",
    "c.txt",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in NAMES:
        write(tmp_path / "d" / name, rows(1))
    return tmp_path / "d"


@pytest.mark.parametrize(
    ("glob", "names"),
    [
        ("", ["a/b/1.PARQUET", "a/z.parquet", "a2.pq", "b.parquet"]),
        ("/a", ["b/1.PARQUET", "z.parquet"]),
        ("/*.p*", [".h.parquet", "a2.pq", "b.parquet"]),
        ("/**/*.parquet", [".h.parquet", "_x/a.parquet", "a/z.parquet", "b.parquet"]),
        ("/a?.pq", ["a2.pq"]),
        ("/[!b]*.pq", ["a2.pq"]),
        ("/a/*/*", ["b/1.PARQUET"]),
        ("/b.parquet", ["b.parquet"]),
        ("/c.txt", ["c.txt"]),
    ],
)
def test_a_uri_names_a_file_a_folder_or_a_glob(folder: Path, glob: str, names: list[str]) -> None:
    for uri in (f"{folder}{glob}", f"file://{folder}{glob}"):
        if set("?[") & set(glob) and "://" in uri:
            continue
        found = [
            file.path.removeprefix(f"{folder}/").removeprefix("a/")
            for file in find_tables(uri).files
        ]
        wanted = [name.removeprefix("a/") for name in names]
        assert found == wanted


def test_a_file_whose_name_looks_like_a_glob_is_found(tmp_path: Path) -> None:
    write(tmp_path / "[1].parquet", rows(1))
    assert len(find_tables(str(tmp_path / "[1].parquet")).files) == 1


@pytest.mark.parametrize(
    "uri", ["nowhere", "d/*.csv", "/dev/null", "odd://x", "a\0b", "\udcff", "[", "**"]
)
def test_a_uri_without_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        cut(uri)
    assert caught.value.cure and "\n" not in caught.value.cause


def test_credentials_in_a_uri_are_refused_and_not_shown() -> None:
    with pytest.raises(InputError, match="holds credentials") as caught:
        cut("s3://me:hidden@bucket/x")
    assert "hidden" not in str(caught.value)


def test_a_relative_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_uri("d/*.parquet") == f"{tmp_path}/d/*.parquet"
    assert absolute_uri("s3://bucket/x") == "s3://bucket/x"


def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.parquet", rows())

    def cut_and_write(*arguments: object) -> None:
        cut_tables(*arguments)  # type: ignore[arg-type]
        write(path, rows(24))

    monkeypatch.setattr(prepare_module, "cut_tables", cut_and_write)
    with pytest.raises(DataError, match="changed while they were read"):
        cut(path)
    assert not (tmp_path / "cache").exists()


def test_rows_are_read_in_parts_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.parquet", rows(40))
    usual = cut(path, num_shards=2).shape
    monkeypatch.setattr(files_module, "_BATCH_BYTES", 400)
    tables = find_tables(str(path))
    sizes = [batch.num_rows for _, batch in tables.batches(tables.files[0], ["x"])]
    assert max(sizes) < 10 and sum(sizes) == 40
    monkeypatch.setenv("RNNJOB_CACHE_DIR", str(tmp_path / "other"))
    assert cut(path, num_shards=2).shape == usual


def test_the_options_have_the_keys_of_the_spec() -> None:
    assert TableOptions.model_validate({"inputs": "x"}).inputs == ("x",)
