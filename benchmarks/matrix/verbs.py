"""Ask every verb about a run, and judge each answer."""

import sys

from benchmarks.matrix.disasters import Disaster
from benchmarks.matrix.on_cluster import ray_jobs_says
from benchmarks.matrix.place import RUN, Place

STATES = ("list", "show", "status", "describe", "Python")
COLUMNS = (*STATES, "Ray Jobs", "why", "logs", "wait", "stop", "resume")
_IN_PYTHON = f"from orchestrator import open_run; print(open_run({RUN!r}).state)"
_WORDS = {"wait": ("--timeout", "2s"), "resume": ("--local", "--json"), "logs": ("--tail", "3")}
Cell = tuple[str, bool]
"""What a verb told, and whether it was right."""


def ask(place: Place, disaster: Disaster, expected: str) -> dict[str, Cell]:
    """Ask every verb. `expected`: the hash of the weights of the undisturbed run."""
    cells = {verb: _state(place, disaster, verb) for verb in STATES}
    if disaster.ray_jobs:
        told = ray_jobs_says(place)
        cells["Ray Jobs"] = told, told == disaster.ray_jobs
    said = place.run("why", RUN, "--json")
    category = str(said.json.get("category", f"exit {said.code}"))
    wanted = disaster.why or f"exit {disaster.no_run}"
    cells["why"] = category, said.is_clean and category == wanted
    # A run that goes on is to refuse the resume, before it is asked to stop.
    ends = ("stop", "resume") if disaster.resume == 0 else ("resume", "stop")
    for verb in ("logs", "wait", *ends):
        cells[verb] = _exit(place, disaster, verb, expected)
    return cells


def _exit(place: Place, disaster: Disaster, verb: str, expected: str) -> Cell:
    logs = 0 if disaster.state else disaster.no_run
    codes = {"logs": logs, "wait": disaster.wait, "stop": disaster.stop, "resume": disaster.resume}
    said = place.run(verb, RUN, *_WORDS.get(verb, ()))
    right = said.is_clean and said.code == codes[verb]
    if not right:
        print(f"{verb}: exit {said.code}: {said.stderr[-600:]}", file=sys.stderr)
    if verb != "resume" or codes[verb]:
        return f"exit {said.code}", right
    is_equal = said.json.get("weights_sha256") == expected
    return "equal weights" if is_equal else f"exit {said.code}", right and is_equal


def _state(place: Place, disaster: Disaster, verb: str) -> Cell:
    if verb == "Python":
        said = place.run(sys.executable, "-c", _IN_PYTHON)
        told = said.stdout.strip() or "an error"
        return told, told == (disaster.state or "an error")
    if verb == "list":
        said = place.run("list", "--json")
        rows = said.json.get("runs", [])
        nothing = "not listed" if said.code == 0 else f"exit {said.code}"
        told = rows[0]["state"] if rows else nothing
        wanted = "not listed" if disaster.no_run == 4 else f"exit {disaster.no_run}"
        return told, said.is_clean and told == (disaster.state or wanted)
    said = place.run(verb, RUN, "--json")
    content = said.json.get("status", said.json)
    told = content.get("state", f"exit {said.code}")
    right = said.is_clean and told == (disaster.state or f"exit {disaster.no_run}")
    if not right:
        print(f"{verb}: {told}: {content.get('reason')} {said.stderr[-600:]}", file=sys.stderr)
    return told, right
