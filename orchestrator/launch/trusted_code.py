"""The code of models that this user has submitted, or has said to trust, by its hash.

A run folder may be a stranger's, and whoever uses its model runs its code. Weights, specs and
checkpoints are data, and need no trust.
"""

import contextlib
import hashlib
import json
import secrets
from pathlib import Path

from orchestrator.cluster.local_registry import state_dir, write_private
from workers.errors import InputError
from workers.models.own.code import ModelCode
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import parse_object

SCHEMA_VERSION = 1
_SHOWN = 8
"""The most files that an error lists."""


def trust(code: ModelCode) -> None:
    """Remember that this user trusts the code."""
    if not is_trusted(code):
        with contextlib.suppress(OSError):  # then the user has to say so another time
            _remember(code.sha256)


def is_trusted(code: ModelCode) -> bool:
    return code.sha256 in _remembered()


def check_trusted(run: RunFolder, code: ModelCode) -> None:
    """Raise InputError, which names the files, if this user has not said to trust the code."""
    if is_trusted(code):
        return
    files = [
        f"{path} (SHA-256 {hashlib.sha256(content).hexdigest()[:12]})"
        for path, content in sorted(code.files.items())
    ]
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    raise InputError(
        f"the model of {run.run_id} is code that you have not submitted: "
        f"{', '.join(files[:_SHOWN])}{more}",
        f"read it in {run.storage.where(run.MODEL_CODE)}, then run it with --trust-code",
    )


def _path() -> Path:
    return state_dir() / "trusted_code.json"


def _remembered() -> list[str]:
    """Return the hashes in the file. One that cannot be read holds none."""
    try:
        hashes = parse_object(_path().read_bytes()).get("sha256")
    except (OSError, ValueError):
        return []
    return hashes if isinstance(hashes, list) else []


def _remember(sha256: str) -> None:
    """Add a hash to the file. Raises OSError if it cannot be written."""
    path = _path()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    content = {"schema_version": SCHEMA_VERSION, "sha256": [*_remembered(), sha256]}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        write_private(temporary, json.dumps(content, indent=2))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
