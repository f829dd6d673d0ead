"""Repeats: runs of one spec that differ in their seed alone, and how their ids belong together."""

import re
from collections.abc import Iterable

from orchestrator.runs.run_store import find_run, list_runs
from workers.errors import InputError, NoSuchRunError, RunExistsError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

MAX_REPEATS = 20
"""The most repeats of one submission; also the most pairs of which a test tries all signs."""
_REPEAT_ID = re.compile(r"(?P<name>.+)-seed(?P<seed>\d+)")


def repeat_id(name: str, seed: int) -> str:
    """Return the id of the repeat with a seed: `<name>-seed<seed>`."""
    return f"{name}-seed{seed}"


def check_free(storage: Storage, run_ids: Iterable[str]) -> None:
    """Raise RunExistsError if a run of the storage has one of the ids."""
    for run_id in run_ids:
        if storage.child(run_id).exists():
            raise RunExistsError(
                f"the run '{run_id}' is already in {storage.where()}",
                "choose another --run-id, or leave it out to have one made",
            )


def find_runs(storage: Storage, name: str) -> list[RunFolder]:
    """Return the run that a name stands for, or all repeats that it stands for, by their seeds.

    A name stands for repeats if it is what their ids begin with, and those of no other run do.

    Raises NoSuchRunError.
    """
    try:
        return [find_run(storage, name)]
    except NoSuchRunError as error:
        ids = [s.run_id for s in list_runs(storage) if s.run_id.startswith(name)]
        found = [_REPEAT_ID.fullmatch(run_id) for run_id in ids]
        if not found or len({match and match["name"] for match in found}) > 1 or not all(found):
            raise error
        seeds = {int(match["seed"]): match.string for match in found if match}
        return [RunFolder(storage.child(run_id)) for _, run_id in sorted(seeds.items())]


def common_name(run_ids: Iterable[str]) -> str:
    """Return the name of repeats, without their seeds. Raises InputError if there is none."""
    names = {match["name"] if (match := _REPEAT_ID.fullmatch(i)) else i for i in run_ids}
    if len(names) != 1:
        raise InputError(f"{', '.join(sorted(names))} are no repeats of one run", "name one")
    return names.pop()
