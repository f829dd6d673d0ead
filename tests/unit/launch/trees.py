"""A working directory with everything that must stay at home, and more."""

from pathlib import Path

SECRETS = [
    ".env",
    ".env.production",
    "conf/.env",
    ".netrc",
    ".pgpass",
    ".ssh/known_hosts",
    "deep/er/.aws/credentials",
    ".gnupg/trustdb.gpg",
    ".kube/config",
    "ID_RSA",
    "id_ed25519.old",
    "tls/server.pem",
    "tls/server.key",
    "tls/store.p12",
    "credentials.json",
    "service-account-7.json",
    ".npmrc",
    ".pypirc",
    ".docker/config.json",
    ".ray/auth_token",
    "rnnjob/clusters/local.json",
]
LEFT_OUT = {
    **dict.fromkeys(SECRETS, "secret"),
    "runs/first/status.json": "run folder",
    "runs/first/job.yaml": "run folder",
    "runs/first/checkpoints/step-1/model.safetensors": "run folder",
    "runs/.data/abc/manifest.json": "cut data set",
    "runs/.data/abc/train-00000-of-00001.parquet": "cut data set",
    "runs/.data/unfinished/train-00000-of-00001.parquet": "cut data set",
    "elsewhere/cut/manifest.json": "cut data set",
    "elsewhere/cut/test-00001-of-00002.parquet": "cut data set",
    ".venv/bin/python": "virtual environment",
    "tools/env/pyvenv.cfg": "virtual environment",
    "conda/conda-meta/history": "virtual environment",
    ".git/config": "version control",
    "__pycache__/train.pyc": "cache",
    "pkg/__pycache__/a.pyc": "cache",
    "target/CACHEDIR.TAG": "cache",
    "ignored.log": ".gitignore",
    "data/rows.bin": ".gitignore",
    "pkg/large.bin": ".rayignore",
}
SENT = [
    ".gitignore",
    "conf/settings.yaml",
    "environment.py",
    "keys.txt",
    "pkg/.rayignore",
    "pkg/__init__.py",
    "rows/manifest.json",
    "rows/rows.parquet",
    "tls/readme.txt",
    "tools/run.sh",
    "train.py",
]


def write(folder: Path, path: str, content: str | None = None) -> None:
    """Write a file with its own path as its content."""
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(path if content is None else content)


def full_tree(folder: Path) -> Path:
    for path in [*LEFT_OUT, *SENT]:
        write(folder, path)
    write(folder, ".gitignore", "*.log\ndata/\n")
    write(folder, "pkg/.rayignore", "*.bin\n")
    (folder / "out").mkdir()
    (folder / "tools" / "run.sh").chmod(0o755)
    return folder
