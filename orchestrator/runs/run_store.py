"""The runs of a storage: their ids, creating one, listing all of them, finding one by its name."""

import re
import secrets
import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone

from orchestrator.runs.run_status import (
    QUEUED,
    RunStatus,
    read_status,
    read_status_file,
    this_process,
    write_status,
)
from workers.errors import InputError, NoSuchRunError, RunExistsError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

LAST = "@last"
"""The name of the newest run of a storage."""
DEFAULT_STORAGE = "./runs"
MAX_ID_LENGTH = 128
_RUN_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_ID_LENGTH - 1}}}")


def new_run_id(name: str) -> str:
    """Make an id: `<name>-<UTC time>-<4 hex digits>`."""
    now = datetime.now(timezone.utc)
    return f"{name}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def is_run_id(name: str) -> bool:
    """Return whether a name can be a run's: it leads nowhere else, and confuses no shell."""
    return _RUN_ID.fullmatch(name) is not None


def check_run_id(run_id: str) -> None:
    """Raise InputError if the id cannot be a run's."""
    if not is_run_id(run_id):
        raise InputError(
            f"'{run_id}' cannot be a run id",
            "use letters, digits, '.', '_' and '-', beginning with a letter or digit, "
            f"{MAX_ID_LENGTH} at most",
        )


def run_at(storage: str, run_id: str) -> RunFolder:
    """Return the folder of a run, which need not exist yet."""
    return RunFolder(Storage(storage).child(run_id))


def create_run(
    storage: Storage,
    run_id: str,
    job_yaml: str,
    mode: str,
    address: str = "",
    write_more: Callable[[RunFolder], None] = lambda run: None,
) -> RunFolder:
    """Create a run's folder with its spec and its first status. If that fails, nothing is left.

    `write_more`: writes what else belongs there, before the status.

    Raises:
        InputError: the id cannot be one.
        RunExistsError: the id is taken.
        StorageError: the storage cannot be written.
    """
    check_run_id(run_id)
    run = RunFolder(storage.child(run_id))
    if not run.storage.create_new():
        raise RunExistsError(
            f"the run '{run_id}' is already in {storage.where()}",
            "choose another --run-id, or leave it out to have one made",
        )
    try:
        run.storage.write(run.JOB, job_yaml.encode())
        write_more(run)
        now = time.time()
        status = RunStatus(run_id, QUEUED, mode, address=address, submitted_at=now, queued_at=now)
        if not address:
            # Until the job has begun, it lives and dies with this process.
            status = replace(status, **this_process())
        write_status(run, status)
    except BaseException:
        run.storage.delete()
        raise
    return run


def next_command(run: RunFolder, verb: str, *more: str) -> str:
    """Return a command about a run that works when it is pasted into a shell."""
    words = ["rnnjob", verb, run.run_id, *more]
    if run.storage.parent_uri != Storage(DEFAULT_STORAGE).uri:
        words += ["--storage", run.storage.parent_uri]
    return shlex.join(words)


def list_runs(
    storage: Storage, left_out: Callable[[NoSuchRunError], None] = lambda error: None
) -> list[RunStatus]:
    """Return the status of every run of a storage, newest first. Raises StorageError.

    `left_out`: called with the reason for each run whose status cannot be read.
    """
    found = []
    for name in storage.list():
        if _RUN_ID.fullmatch(name):
            run = RunFolder(storage.child(name))
            try:
                found.append(read_status(run))
            except NoSuchRunError as error:
                if run.storage.exists(run.STATUS):  # else it is a folder of something else
                    left_out(error)
    return sorted(found, key=lambda status: status.submitted_at or 0.0, reverse=True)


def find_run(storage: Storage, name: str) -> RunFolder:
    """Return the run that has this id, or this unique prefix of an id, or that `@last` names.

    Raises NoSuchRunError if no run, or more than one, has that name.
    """
    if name != LAST and not _RUN_ID.fullmatch(name):
        raise NoSuchRunError(f"'{name}' cannot be a run id", "see rnnjob list")
    run = RunFolder(storage.child(name))
    if name != LAST and read_status_file(run) is not None:
        return run
    ids = [status.run_id for status in list_runs(storage)]
    matches = ids[:1] if name == LAST else [run_id for run_id in ids if run_id.startswith(name)]
    if len(matches) == 1:
        return RunFolder(storage.child(matches[0]))
    if matches:
        raise NoSuchRunError(
            f"'{name}' fits {len(matches)} runs: {', '.join(matches[:4])}", "give more of the id"
        )
    what = "no run" if name == LAST else f"no run '{name}'"
    raise NoSuchRunError(
        f"{what} in {storage.where()}",
        "see rnnjob list, or name another storage: --storage (or RNNJOB_STORAGE)",
    )
