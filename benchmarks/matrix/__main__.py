"""Do to a run what can happen to it, ask every verb about it, and write the answers as a table.

    python -m benchmarks.matrix                           # all disasters: about half an hour
    python -m benchmarks.matrix --only killed --only full # these

Each disaster says what must be told of it. Where a run can be resumed, its weights must be those
of an undisturbed run. The rows of the table in docs/reliability.md are replaced one by one, so that
it can be made in pieces. The exit code is 1 if an answer is wrong. It mounts small disks, and so
needs root; for the clock, it needs libfaketime.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks.matrix.disasters import DISASTERS
from benchmarks.matrix.place import JOB, Place
from benchmarks.matrix.table import row, write_row
from benchmarks.matrix.verbs import ask


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=DISASTERS, help="only this disaster")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what a row started is to end, too
    is_right, expected = True, dict[tuple[str, ...], str]()
    with tempfile.TemporaryDirectory(prefix="rd") as scratch:
        for name in given.only or DISASTERS:
            disaster = DISASTERS[name]
            if disaster.job not in expected:
                expected[disaster.job] = _weights(Path(scratch), disaster.job)
            place = Place(Path(scratch) / name)
            place.folder.mkdir()
            try:
                with disaster.do(place) as there:
                    cells = ask(there, disaster, expected[disaster.job])
            except (AssertionError, LookupError, TimeoutError) as error:
                print(f"{name} could not be done: {error!r}", file=sys.stderr, flush=True)
                is_right = False
                continue
            print(row(disaster, cells), flush=True)
            write_row(name, row(disaster, cells))
            is_right &= all(right for _, right in cells.values())
    return 0 if is_right else 1


def _weights(scratch: Path, job: tuple[str, ...]) -> str:
    """Return the hash of the weights of an undisturbed run."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        done = Place(Path(folder)).run(*JOB, "--local", *job, "--json")
        return str(done.json["weights_sha256"])


if __name__ == "__main__":
    sys.exit(main())
