"""Run many drills with seeded faults, and report what the jobs lost to each kind of fault.

    python benchmarks/soak.py                        # 20 runs with 3 faults each
    python benchmarks/soak.py --runs 4 --out s.jsonl # continue where s.jsonl ends

Each run is one `rnnjob drill` with its own seed. Every second run is on Ray; these runs share one
local cluster of three nodes. The other runs are in one process. The document of each drill becomes
one line of the results, and a run that is already in the results is not repeated. After each drill,
every verb must tell the end that came. The exit code is 1 if any run failed or did not end equal to
its undisturbed run, or a verb told something else.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RNNJOB = str(Path(sys.executable).with_name("rnnjob"))
KINDS = ("worker", "node", "driver", "storage", "resize", "suspend", "supervisor")
JOB = ("--dataset", "mnist-sample", "--set", "dataset.num_shards=4")
EVERY_LOCAL = 2
"""One run out of this many is in one process; the others are on Ray."""
TIMEOUT_S = 1800
Entry = dict[str, Any]


def is_local(run: int) -> bool:
    return run % EVERY_LOCAL == EVERY_LOCAL - 1


def drill(seed: int, num_faults: int, cluster: str | None, storage: Path) -> Entry:
    """Run one drill. Return its document, or an entry with the error if it printed none."""
    on_ray = ("--address", cluster, "--undisturbed", "here", "--faults", ",".join(KINDS))
    place = on_ray if cluster else ("--local",)
    command = [
        RNNJOB, "drill", *place, *JOB, "--seed", str(seed), "--num-faults", str(num_faults),
        "--storage", str(storage), "--json", "--quiet",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        stdout, stderr = process.communicate(timeout=TIMEOUT_S)
        content: Entry = json.loads(stdout)
    except subprocess.TimeoutExpired:
        return {"seed": seed, "equal": False, "error": f"not done after {TIMEOUT_S} s"}
    except ValueError:
        return {"seed": seed, "equal": False, "error": " ".join(stderr.split())[-500:]}
    finally:
        if process.poll() is None:
            process.terminate()  # the drill ends its own run before it exits
            process.communicate()
    return {**content, "told": told_states(content["disturbed"]["run_id"], storage)}


def told_states(run_id: str, storage: Path) -> dict[str, str]:
    """Return the state that each verb tells of a run."""
    place = f"{run_id!r}, storage={str(storage)!r}"
    code = f"from orchestrator import open_run; print(open_run({place}).state)"
    told = {"Python": _output([sys.executable, "-c", code]).strip()}
    for verb in ("list", "show", "status", "describe", "why", "wait"):
        words = [verb, *([] if verb == "list" else [run_id]), "--storage", str(storage), "--json"]
        content = json.loads(_output([RNNJOB, *words]) or "{}")
        rows = [row for row in content.get("runs", ()) if row["run_id"] == run_id]
        content = rows[0] if rows else content.get("status", content)
        told[verb] = str(content.get("state") or content.get("category")).upper()
    return told


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@contextmanager
def local_cluster() -> Iterator[str]:
    """Start a local cluster of three nodes with one CPU each, and stop it at the end."""
    name = f"soak-{secrets.token_hex(2)}"
    options = ("--local", "--nodes", "3", "--cpus-per-node", "1", "--name", name)
    subprocess.run([RNNJOB, "cluster", "up", *options], check=True, stdout=subprocess.DEVNULL)
    try:
        yield name
    finally:
        subprocess.run([RNNJOB, "cluster", "down", name], check=True)


def read_entries(out: Path) -> list[Entry]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def storage_of(out: Path, seed: int) -> Path:
    return out.with_suffix(f".{seed}")


def soak(runs: range, num_faults: int, out: Path) -> None:
    """Run the drills that are not in the results yet. Keep the folders of runs that differed."""
    done = {entry["seed"] for entry in read_entries(out)}
    wanted = [seed for seed in runs if seed not in done]
    # The runs in one process come first, because they need no cluster.
    for seed in (seed for seed in wanted if is_local(seed)):
        print_entry(drill_and_record(out, seed, num_faults, None))
    on_ray = [seed for seed in wanted if not is_local(seed)]
    if on_ray:
        with local_cluster() as cluster:
            for seed in on_ray:
                print_entry(drill_and_record(out, seed, num_faults, cluster))
    # The folders are deleted last: a driver may still write its log after its run has ended.
    for entry in read_entries(out):
        if entry["equal"]:
            shutil.rmtree(storage_of(out, entry["seed"]), ignore_errors=True)


def drill_and_record(out: Path, seed: int, num_faults: int, cluster: str | None) -> Entry:
    """Run one drill and append its entry to the results."""
    entry = drill(seed, num_faults, cluster, storage_of(out, seed))
    with open(out, "a") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return entry


def print_entry(entry: Entry) -> None:
    faults = ", ".join(f"{f['kind']} {f['outcome']}" for f in entry.get("faults", ()))
    verdict = "equal" if entry["equal"] else f"NOT EQUAL {entry.get('error', '')}"
    agreement = "" if agrees(entry) else f", NOT AGREED {entry.get('told')}"
    print(f"seed {entry['seed']}: {verdict}{agreement}: {faults}", file=sys.stderr, flush=True)


def agrees(entry: Entry) -> bool:
    """Whether every verb told the end of the disturbed run."""
    return set(entry.get("told", {}).values()) == {entry.get("disturbed", {}).get("state")}


def summary(entries: Sequence[Entry]) -> str:
    """Return a table in Markdown with a row per kind of fault, and a line about the runs."""
    faults = [fault for entry in entries for fault in entry.get("faults", ())]
    lines = [
        "| fault | planned | injected | survived | steps repeated, median / max "
        "| time lost, median / max |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(kind, [f for f in faults if f["kind"] == kind]) for kind in KINDS]
    lines.append(_row("all", faults))
    equal, agreed = sum(entry["equal"] for entry in entries), sum(map(agrees, entries))
    lines += ["", f"{equal} of {len(entries)} runs ended equal, to the bit."]
    lines += [f"Of {agreed}, every verb told the end that came."]
    return "\n".join(lines)


def _row(name: str, faults: Sequence[Entry]) -> str:
    injected = [fault for fault in faults if fault["outcome"] != "missed"]
    survived = sum(fault["outcome"] == "survived" for fault in injected)
    repeated = _spread(injected, "repeated_steps", "{:.0f}")
    lost = _spread(injected, "lost_s", "{:.1f} s")
    cells = (name, len(faults), len(injected), survived, repeated, lost)
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _spread(faults: Sequence[Entry], key: str, form: str) -> str:
    values = [fault[key] for fault in faults if fault[key] is not None]
    if not values:
        return "-"
    return f"{form.format(statistics.median(values))} / {form.format(max(values))}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--faults-per-run", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="seed of the first run")
    parser.add_argument("--out", type=Path, default=Path("soak.jsonl"))
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the cluster is to end, too
    seeds = range(arguments.seed, arguments.seed + arguments.runs)
    soak(seeds, arguments.faults_per_run, arguments.out.absolute())
    entries = [entry for entry in read_entries(arguments.out) if entry["seed"] in seeds]
    print(summary(entries))
    return 0 if all(entry["equal"] and agrees(entry) for entry in entries) else 1


if __name__ == "__main__":
    sys.exit(main())
