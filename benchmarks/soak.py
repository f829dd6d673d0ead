"""Many seeded drills: jobs that lose workers, nodes, drivers and checkpoints, and what they lose.

    python benchmarks/soak.py                        # 20 runs with 3 faults each
    python benchmarks/soak.py --runs 4 --out s.jsonl # goes on where s.jsonl ends

Each run is one `rnnjob drill` of its own seed: every other one on Ray, on one cluster of three
nodes that is up for all of them, the rest in one process. Each drill's document is a line of the
results; a run that is there already is not made again. Leaves with 1 if any run was not equal.
"""

import argparse
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RNNJOB = str(Path(sys.executable).with_name("rnnjob"))
KINDS = ("worker", "node", "driver", "storage", "resize")
JOB = ("--dataset", "mnist-sample", "--set", "dataset.num_shards=4")
EVERY_LOCAL = 2
"""One run of so many is in one process."""
TIMEOUT_S = 1800
Entry = dict[str, Any]


def is_local(run: int) -> bool:
    return run % EVERY_LOCAL == EVERY_LOCAL - 1


def drill(seed: int, num_faults: int, cluster: str | None, storage: Path) -> Entry:
    """The document of one drill, or what went wrong with it."""
    on_ray = ("--address", cluster, "--undisturbed", "here", "--faults", ",".join(KINDS))
    where = on_ray if cluster else ("--local",)
    command = [
        RNNJOB, "drill", *where, *JOB, "--seed", str(seed), "--num-faults", str(num_faults),
        "--storage", str(storage), "--json", "--quiet",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        stdout, stderr = process.communicate(timeout=TIMEOUT_S)
        content: Entry = json.loads(stdout)
    except subprocess.TimeoutExpired:
        process.terminate()  # it ends its run first
        process.communicate()
        return {"seed": seed, "equal": False, "error": f"not done after {TIMEOUT_S} s"}
    except ValueError:
        return {"seed": seed, "equal": False, "error": " ".join(stderr.split())[-500:]}
    return content


@contextmanager
def cluster_up() -> Iterator[str]:
    """Three nodes of one CPU each, gone afterwards."""
    name = f"soak-{secrets.token_hex(2)}"
    options = ("--local", "--nodes", "3", "--cpus-per-node", "1", "--name", name)
    subprocess.run([RNNJOB, "cluster", "up", *options], check=True, stdout=subprocess.DEVNULL)
    try:
        yield name
    finally:
        subprocess.run([RNNJOB, "cluster", "down", name], check=True)


def entries_of(out: Path) -> list[Entry]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def storage_of(out: Path, seed: int) -> Path:
    return out.with_suffix(f".{seed}")


def soak(runs: range, num_faults: int, out: Path) -> None:
    """Makes the runs that are not in the results yet. Those that differed keep their folders."""
    done = {entry["seed"] for entry in entries_of(out)}
    wanted = [seed for seed in runs if seed not in done]
    # Those in one process first: they need no cluster.
    for seed in (seed for seed in wanted if is_local(seed)):
        note(drill_into(out, seed, num_faults, None))
    on_ray = [seed for seed in wanted if not is_local(seed)]
    if on_ray:
        with cluster_up() as cluster:
            for seed in on_ray:
                note(drill_into(out, seed, num_faults, cluster))
    # Only now: a driver may log a word after its run has ended.
    for entry in entries_of(out):
        if entry["equal"]:
            shutil.rmtree(storage_of(out, entry["seed"]), ignore_errors=True)


def drill_into(out: Path, seed: int, num_faults: int, cluster: str | None) -> Entry:
    entry = drill(seed, num_faults, cluster, storage_of(out, seed))
    with open(out, "a") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return entry


def note(entry: Entry) -> None:
    told = ", ".join(f"{f['kind']} {f['outcome']}" for f in entry.get("faults", ()))
    verdict = "equal" if entry["equal"] else f"NOT EQUAL {entry.get('error', '')}"
    print(f"seed {entry['seed']}: {verdict}: {told}", file=sys.stderr, flush=True)


def summary(entries: Sequence[Entry]) -> str:
    """A table in Markdown, by kind of fault, and a line on the runs."""
    faults = [fault for entry in entries for fault in entry.get("faults", ())]
    lines = [
        "| fault | planned | injected | survived | steps repeated, median / max "
        "| time lost, median / max |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(kind, [f for f in faults if f["kind"] == kind]) for kind in KINDS]
    lines.append(_row("all", faults))
    equal = sum(entry["equal"] for entry in entries)
    return "\n".join([*lines, "", f"{equal} of {len(entries)} runs ended equal, to the bit."])


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
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--out", type=Path, default=Path("soak.jsonl"))
    arguments = parser.parse_args()
    seeds = range(arguments.seed, arguments.seed + arguments.runs)
    soak(seeds, arguments.faults_per_run, arguments.out.absolute())
    entries = [entry for entry in entries_of(arguments.out) if entry["seed"] in seeds]
    print(summary(entries))
    return 0 if all(entry["equal"] for entry in entries) else 1


if __name__ == "__main__":
    sys.exit(main())
