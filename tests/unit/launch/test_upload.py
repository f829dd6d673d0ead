"""What is listed of a working directory, and that this is what is packed."""

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray._private.ray_constants import get_runtime_env_default_excludes
from ray._private.runtime_env.packaging import create_package, unzip_package

from orchestrator.launch.upload import Upload, list_upload
from orchestrator.launch.upload_note import describe_upload
from tests.unit.launch.trees import LEFT_OUT, SECRETS, SENT, full_tree, write
from workers.errors import InputError


def paths(upload: Upload) -> list[str]:
    return sorted(entry.path for entry in upload.entries)


def reason_of(upload: Upload, path: str) -> str:
    """Return the reason of the entry that a path is, or is below."""
    (entry,) = [
        entry
        for entry in upload.left_out
        if path == entry.path or (entry.path.endswith("/") and path.startswith(entry.path))
    ]
    return ", ".join(entry.reasons)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return full_tree(tmp_path / "project")


def test_everything_that_should_stay_at_home_is_left_out_with_its_reason(tree: Path) -> None:
    upload = list_upload(tree)
    assert paths(upload) == sorted([*SENT, "out/"])
    for path, reason in LEFT_OUT.items():
        assert reason in reason_of(upload, path), path


def test_a_folder_of_which_nothing_is_sent_is_one_entry(tree: Path) -> None:
    entries = {entry.path: entry.reasons for entry in list_upload(tree).left_out}
    assert entries["runs/"] == ("cut data set", "run folder")
    assert entries["deep/"] == ("secret",)
    assert entries["conf/.env"] == ("secret",), "conf has something that is sent"


def test_the_size_is_that_of_the_files(tree: Path) -> None:
    write(tree, "weights.bin", "w" * 5000)
    upload = list_upload(tree)
    sizes = [(tree / path).stat().st_size for path in [*SENT, "weights.bin"]]
    assert upload.num_bytes == sum(sizes)
    assert upload.largest == "weights.bin (4.9 KiB)"
    assert upload.to_json()["num_files"] == len(sizes)


def test_the_archive_holds_what_is_listed_and_unpacks_as_it_was(tree: Path, tmp_path: Path) -> None:
    upload = list_upload(tree)
    upload.write_zip(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    assert sizes == {entry.path: entry.num_bytes for entry in upload.entries}
    there = tmp_path / "there"
    unzip_package(str(tmp_path / "a.zip"), str(there), False, unlink_zip=False)
    for path in SENT:
        assert (there / path).read_bytes() == (tree / path).read_bytes()
    assert (there / "out").is_dir() and os.access(there / "tools" / "run.sh", os.X_OK)


def test_equal_content_is_an_equal_package_whatever_its_age(tree: Path, tmp_path: Path) -> None:
    list_upload(tree).write_zip(tmp_path / "a.zip")
    os.utime(tree / "train.py", (1e9, 1e9))
    list_upload(tree).write_zip(tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def packed_by_ray(folder: Path, excludes: list[str], target: Path) -> list[str]:
    ignores_git = os.environ.get("RAY_RUNTIME_ENV_IGNORE_GITIGNORE") == "1"
    create_package(str(folder), target, include_gitignore=not ignores_git, excludes=excludes)
    with zipfile.ZipFile(target) as archive:
        return sorted(archive.namelist())


def test_ray_packs_the_same_if_it_is_told_what_is_left_out(tree: Path, tmp_path: Path) -> None:
    upload = list_upload(tree)
    excludes = [
        "/" + entry.path.rstrip("/")
        for entry in upload.left_out
        if not any(reason.endswith("ignore") for reason in entry.reasons)
    ]
    excludes += get_runtime_env_default_excludes()
    assert paths(upload) == packed_by_ray(tree, excludes, tmp_path / "ray.zip")


PATTERNS = [
    *("a.csv", "*.csv", "data", "data/", "/data", "/data/", "a/b", "a/*.csv", "a/**", "a/**/c.csv"),
    *("**/c.csv", "**/data/", "?", "[ab]", "[!a]*", "/*", "*", "#a", "\\#a", "!a", "/"),
    *("*.csv,!a.csv", "data,!data/keep", "data/*,!data/keep", "/*,!/a", "*,!/a", "a/*,!a/b"),
]


@pytest.fixture
def plain_tree(tmp_path: Path) -> Path:
    folder = tmp_path / "plain"
    for path in (
        *("a.csv", "b.txt", "#a", "c/x", "data/x", "data/keep", "a/a.csv", "a/data/x.csv"),
        *("a/b/c.csv", "a/b/d/c.csv", "c/data/keep/y", "z/.hidden/y"),
    ):
        write(folder, path)
    (folder / "empty" / "data").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("where", ["", "a/"])
@pytest.mark.parametrize("name", [".gitignore", ".rayignore"])
@pytest.mark.parametrize("patterns", PATTERNS)
def test_ignore_files_are_read_as_ray_reads_them(
    plain_tree: Path, tmp_path: Path, patterns: str, name: str, where: str
) -> None:
    write(plain_tree, where + name, "\n".join(["", "# comment", *patterns.split(",")]))
    assert paths(list_upload(plain_tree)) == packed_by_ray(plain_tree, [], tmp_path / "ray.zip")


@pytest.mark.parametrize("value", ["0", "1"])
def test_rays_variable_for_gitignore_is_respected(
    plain_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("RAY_RUNTIME_ENV_IGNORE_GITIGNORE", value)
    write(plain_tree, ".gitignore", "*.csv")
    write(plain_tree, ".rayignore", "b.txt")
    listed = paths(list_upload(plain_tree))
    assert listed == packed_by_ray(plain_tree, [], tmp_path / "ray.zip")
    assert ("a.csv" in listed) == (value == "1") and "b.txt" not in listed


def test_a_package_of_ours_is_listed_as_ray_packs_it(tmp_path: Path) -> None:
    for path in ("__init__.py", "__pycache__/a.pyc", "x.pem", "ignored"):
        write(tmp_path / "pkg", path)
    write(tmp_path / "pkg", ".gitignore", "ignored")
    upload = list_upload(tmp_path / "pkg", is_package=True)
    assert paths(upload) == packed_by_ray(tmp_path / "pkg", [], tmp_path / "ray.zip")
    assert "__pycache__/a.pyc" in paths(upload)


def included(tree: Path, *patterns: str) -> set[str]:
    """Return what is sent because of --include."""
    return set(paths(list_upload(tree, patterns))) - set(paths(list_upload(tree)))


@pytest.mark.parametrize(
    ("pattern", "more"),
    [
        (".env", {".env"}),  # not conf/.env: patterns are relative to the folder
        ("./conf/.env", {"conf/.env"}),
        ("**/.env", {".env", "conf/.env"}),
        ("tls", set()),  # it is sent anyway, and its secrets are not named
        ("tls/*.pem", {"tls/server.pem"}),
        (".ssh/", {".ssh/known_hosts"}),
        ("data", {"data/rows.bin"}),
        ("ignored.log", {"ignored.log"}),
        (".git", {".git/config"}),
        ("runs/first/checkpoints", {"runs/first/checkpoints/step-1/model.safetensors"}),
        ("runs/first/*.yaml", {"runs/first/job.yaml"}),
        ("runs", {path for path in LEFT_OUT if path.startswith("runs/")}),
    ],
)
def test_include_sends_what_it_names_and_no_more(tree: Path, pattern: str, more: set[str]) -> None:
    assert included(tree, pattern) == more


def test_a_secret_in_an_included_folder_must_be_named_itself(tree: Path) -> None:
    write(tree, "runs/first/.env")
    assert "runs/first/.env" not in included(tree, "runs")
    assert reason_of(list_upload(tree, ("runs",)), "runs/first/.env") == "secret"
    assert "runs/first/.env" in included(tree, "runs", "runs/first/.env")


@pytest.mark.parametrize("pattern", ["nothing", "/etc/passwd", "../project/train.py", "!train.py"])
def test_a_pattern_that_matches_nothing_is_refused(tree: Path, pattern: str) -> None:
    with pytest.raises(InputError, match=r"--include .* matches nothing"):
        list_upload(tree, ("train.py", pattern))


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    write(tmp_path / "outside", "notes.txt")
    yield tmp_path / "outside"


def test_links_out_of_the_folder_are_never_followed(tree: Path, outside: Path) -> None:
    (tree / "a_folder").symlink_to(outside)
    (tree / "a_file").symlink_to(outside / "notes.txt")
    (tree / "gone").symlink_to(tree / "nowhere")
    for upload in (list_upload(tree), list_upload(tree, ("a_*", "gone"))):
        assert paths(upload) == sorted([*SENT, "out/"])
        assert reason_of(upload, "a_file") == "link out of the folder"
        assert "a_folder/" in [entry.path for entry in upload.left_out]
        assert reason_of(upload, "gone") == "neither file nor folder"


def test_links_within_the_folder_are_followed_but_not_to_what_is_left_out(tree: Path) -> None:
    links = {
        "copy.py": "train.py",
        "copies": "pkg",
        "settings": ".env",
        "key": ".ssh/known_hosts",
        "weights": "runs/first/checkpoints/step-1",
        "pkg/up": "..",
    }
    for link, target in links.items():
        (tree / link).symlink_to(target if link == "pkg/up" else tree / target)
    upload = list_upload(tree)
    more = set(paths(upload)) - {*SENT, "out/"}
    assert more == {"copy.py", "copies/.rayignore", "copies/__init__.py"}
    assert reason_of(upload, "settings") == reason_of(upload, "key") == "secret"
    assert reason_of(upload, "weights/") == "run folder"
    assert reason_of(upload, "pkg/up/") == "link to a folder above it"
    assert included(tree, "key") == {"key"}


def test_what_ray_could_not_pack_or_unpack_is_left_out(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    for name in ("back\\slash", os.fsdecode(b"latin-\xe9"), "c:drive"):
        write(tree, name, "x")
    upload = list_upload(tree)
    assert paths(upload) == sorted([*SENT, "out/"])
    assert reason_of(upload, "pipe") == "neither file nor folder"
    assert reason_of(upload, "back\\slash") == "name that Ray does not unpack"
    assert all(line.isprintable() for line in describe_upload(upload.names_to_json()))


def test_a_file_that_went_away_is_one_error(tree: Path, tmp_path: Path) -> None:
    upload = list_upload(tree)
    (tree / "train.py").unlink()
    with pytest.raises(InputError, match=r"cannot pack .*train\.py: No such file"):
        upload.write_zip(tmp_path / "a.zip")


def test_a_pattern_that_is_not_valid_is_refused_with_its_file(tree: Path) -> None:
    write(tree, "pkg/.rayignore", "a\\")
    with pytest.raises(InputError, match=r"pkg/\.rayignore has a pattern that is not valid"):
        list_upload(tree)


def test_the_note_has_at_most_ten_lines_of_76_columns_with_the_secrets_first(tree: Path) -> None:
    for number in range(300):
        write(tree, f"runs/run-{number}/status.json")
        write(tree, f"runs/run-{number}/job.yaml")
        write(tree, f"secrets/{number}{'x' * 90}.pem")
    write(tree, "runs/notes.txt", "")
    write(tree, "secrets/\x1b[31mred.txt", "y" * 3000)
    (tree / "link").symlink_to("/")
    lines = describe_upload(list_upload(tree).names_to_json())
    assert len(lines) <= 10 and max(map(len, lines)) <= 76
    assert lines[0].startswith("sent from ") and lines[0].endswith(
        f": {len(SENT) + 2} files, 3.1 KiB"
    )
    assert lines[1].startswith("  largest: secrets/\\x1b[31mred.txt (2.9 KiB), ")
    assert lines[2].startswith("  left out: .docker/, .env, ") and "(secret)" in lines[2]
    assert any(" more (run folder)" in line for line in lines)
    assert " more; " in lines[-1]
    assert lines[-1].endswith("list all: submit --dry-run --json; send one: --include PATTERN")


def test_a_folder_left_out_for_many_reasons_is_one_short_line(tmp_path: Path) -> None:
    for path in LEFT_OUT:
        if not LEFT_OUT[path].endswith("ignore"):
            write(tmp_path / ("home" + "x" * 50), path)
    names = list_upload(tmp_path).names_to_json()
    (entry,) = [entry for entry in names["left_out"] if entry["path"].startswith("home")]
    assert len(entry["reason"].split(", ")) >= 5
    assert max(map(len, describe_upload(names))) <= 76


def test_the_note_of_a_plain_folder_is_two_lines(tmp_path: Path) -> None:
    write(tmp_path / "p", "a.py", "pass")
    names = list_upload(tmp_path / "p").names_to_json()
    assert describe_upload({**names, "path": "/home/p"}) == [
        "sent from /home/p: 1 file, 4 B",
        "  largest: a.py (4 B)",
    ]


def test_the_list_as_json_is_whole(tree: Path) -> None:
    names = json.loads(json.dumps(list_upload(tree).names_to_json()))
    assert sorted(file["path"] for file in names["files"]) == sorted([*SENT, "out/"])
    assert {"path": "conf/.env", "reason": "secret"} in names["left_out"]
    assert len([entry for entry in names["left_out"] if entry["reason"] == "secret"]) <= len(
        SECRETS
    )
