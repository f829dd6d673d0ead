"""Measure rnnjob beside its peers on this machine, and write benchmarks/RESULTS.md.

    python -m benchmarks.bench                    # all rows, on the full MNIST: hours
    python -m benchmarks.bench --only fp32 --rounds 7
    python -m benchmarks.bench --smoke            # the shipped digits; only shows that it works

Rows that are not chosen stay as they are. The full MNIST is taken from RNNJOB_DATA_DIR, or
downloaded. Nothing else should run meanwhile. The exit code is 1 if a command failed.
"""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks.bench import contenders, results
from benchmarks.bench.commands import CommandError, Runner
from benchmarks.bench.data import write_rows
from benchmarks.bench.machine import commit, machine
from benchmarks.bench.measure import Bench
from benchmarks.bench.rows import rows
from orchestrator.datasets.sources import SAMPLE

RESULTS = Path(__file__).parents[1] / "RESULTS.json"
SMOKE_TARGET = 0.3
Sizes = dict[str, str | float]
FULL: Sizes = {"dataset": "mnist", "seconds": 8.0, "epochs": 2, "target": contenders.TARGET}
SMOKE: Sizes = {"dataset": SAMPLE, "seconds": 0.3, "epochs": 1, "target": SMOKE_TARGET}


def main() -> int:
    given = _arguments()
    sizes = SMOKE if given.smoke else FULL
    if given.smoke:
        os.environ.pop("RNNJOB_DATA_DIR", None)
    wanted = rows(float(sizes["target"]))
    chosen = given.only or list(wanted)
    kept = results.read(given.output)
    here = results.Results(machine(), {})
    if kept and kept.machine == here.machine:
        here.rows.update(kept.rows)
    elif kept and given.only and not given.smoke:
        print(
            f"{given.output} is of another machine or other versions\n"
            "measure all rows, or keep these apart: --output FILE",
            file=sys.stderr,
        )
        return 2
    is_whole = True
    with tempfile.TemporaryDirectory(prefix="rb-") as scratch:
        data = Path(scratch, "data")
        write_rows(str(sizes["dataset"]), data)
        runner = Runner(Path(scratch), data, sizes, reuse=given.smoke)
        rounds = 1 if given.smoke else given.rounds
        bench = Bench(runner, rounds, commit(), usual_only=given.smoke)
        for key in chosen:
            try:
                here.rows[key] = bench.row(wanted[key])
            except (CommandError, ValueError) as error:
                here.rows[key] = bench.failed(str(error))
                is_whole = False
            print(results.line(key, wanted[key], here.rows[key]), flush=True)
            if not given.smoke:
                results.write(given.output, here, wanted)
    return 0 if is_whole else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.bench",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    keys = list(rows(contenders.TARGET))
    parser.add_argument("--only", action="append", choices=keys, help="only this row")
    parser.add_argument("--rounds", type=int, default=5, help="how often each row is measured")
    parser.add_argument("--smoke", action="store_true", help="only show that it works")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="the results as JSON; the page is beside it"
    )
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error(f"--rounds {given.rounds}: at least one round is needed")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is to end, too
    return given


if __name__ == "__main__":
    sys.exit(main())
