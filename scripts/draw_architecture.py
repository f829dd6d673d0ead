"""Draw docs/pictures/architecture.svg: the rooms, and what goes from one to the other.

Mermaid's script, which would draw it in the browser, is 3 MB, and the site loads nothing.
"""

import argparse
from html import escape
from pathlib import Path

from orchestrator.runs.report.figure import STYLE

FILE = Path(__file__).parent.parent / "docs" / "pictures" / "architecture.svg"
WIDTH, HEIGHT = 860, 470
BOX_WIDTH, BOX_HEIGHT = 148, 46
ROOMS = {  # name: (middle x, middle y, what it does)
    "doctor": (90, 45, "what would be missing"),
    "upkeep": (90, 115, "what nothing needs"),
    "cli": (310, 45, "parse, call, print"),
    "client": (770, 45, "a storage, its clusters"),
    "api": (550, 105, "scripts and notebooks"),
    "drill": (550, 188, "faults on purpose"),
    "spec": (310, 150, "what a job is"),
    "observe": (770, 150, "follow, status, why"),
    "datasets": (90, 255, "find, check, cut"),
    "launch": (310, 255, "check, start, resume"),
    "cluster": (550, 255, "reach, check, bring up"),
    "runs": (770, 255, "what a run left"),
    "driver": (310, 370, "runs one job"),
    "workers": (550, 370, "the training loop"),
    "run folder": (770, 370, "on any storage"),
}
ARROWS = [  # from, to, label
    ("cli", "spec", "flags"),
    ("spec", "launch", "JobSpec"),
    ("datasets", "launch", "shards"),
    ("launch", "driver", "job.yaml, then a thread,|a process or a Ray job"),
    ("driver", "workers", "Plan, shards"),
    ("workers", "run folder", "metrics,|checkpoints,|model"),
    ("run folder", "runs", ""),
    ("runs", "observe", ""),
    ("observe", "client", ""),
    ("client", "cli", "answers"),
    ("client", "api", ""),
]
LINES = [("cli", "doctor"), ("cli", "upkeep"), ("client", "drill"), ("launch", "cluster")]
OWN_STYLE = """.box { fill: var(--panel); stroke: var(--dim); } .way { fill: none;
  stroke: var(--dim); stroke-width: 1.3; } .tip { fill: var(--dim); }
"""


def main() -> None:
    """Write the picture, or with --check fail if it is not up to date."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether it is up to date")
    if not parser.parse_args().check:
        FILE.write_text(picture())
    elif FILE.read_text() != picture():
        raise SystemExit(f"{FILE} is not up to date; run python {Path(__file__).name}")


def picture() -> str:
    """Return the picture as SVG."""
    ways = [*(_way(*arrow) for arrow in ARROWS), *(_way(*line, has_tip=False) for line in LINES)]
    x, y, _ = ROOMS["driver"]
    end, _, _ = ROOMS["run folder"]
    under = y + BOX_HEIGHT / 2
    below = (
        f'<path class="way" marker-end="url(#tip)" d="M{x} {under:g} V{y + 58} H{end} '
        f'V{under + 1:g}"/>' + _label((x + end) / 2, y + 74, "status, result, report", "middle")
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img">\n<title>The rooms of rnnjob</title>\n<desc>{_words()}'
        f"</desc>\n<style>\n{STYLE}{OWN_STYLE}</style>\n"
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path class="tip" d="M0 0 L8 4 L0 8 Z"/></marker>\n'
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>\n'
        + "\n".join([*ways, below, *(_room(name) for name in ROOMS)])
        + "\n</svg>\n"
    )


def _room(name: str) -> str:
    x, y, text = ROOMS[name]
    left, top = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
    corner = 22 if name == "run folder" else 6
    return (
        f'<rect class="box" x="{left:g}" y="{top:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" '
        f'rx="{corner}"/><text class="head" x="{x}" y="{y - 4}" text-anchor="middle">{name}</text>'
        f'<text x="{x}" y="{y + 13}" text-anchor="middle">{escape(text)}</text>'
    )


def _way(start: str, end: str, label: str = "", has_tip: bool = True) -> str:
    """Return a line between two rooms, from border to border, with its label."""
    (x1, y1, _), (x2, y2, _) = ROOMS[start], ROOMS[end]
    ends = [*_border(x1, y1, x2, y2), *_border(x2, y2, x1, y1)]
    tip = ' marker-end="url(#tip)"' if has_tip else ""
    line = '<line class="way" x1="{:g}" y1="{:g}" x2="{:g}" y2="{:g}"'.format(*ends) + f"{tip}/>"
    if x1 == x2:
        return line + _label(x1 + 8, (ends[1] + ends[3]) / 2 + 4, label, "start")
    return line + _label((ends[0] + ends[2]) / 2, y1 - 8, label, "middle")


def _border(x1: float, y1: float, x2: float, y2: float) -> tuple[float, float]:
    """Return where the way from the middle of a box to another point leaves the box."""
    dx, dy = x2 - x1, y2 - y1
    shares = [size / 2 / abs(d) for size, d in ((BOX_WIDTH, dx), (BOX_HEIGHT, dy)) if d]
    share = min(shares)
    return round(x1 + share * dx, 1), round(y1 + share * dy, 1)


def _label(x: float, y: float, label: str, anchor: str) -> str:
    lines = label.split("|")
    first = y - 13 * (len(lines) - 1) * (0.5 if anchor == "start" else 1)
    return "".join(
        f'<text class="small" x="{x:g}" y="{first + 13 * number:g}" text-anchor="{anchor}">'
        f"{escape(line)}</text>"
        for number, line in enumerate(lines)
        if line
    )


def _words() -> str:
    said = [f"{start} to {end}{f': {label}' if label else ''}" for start, end, label in ARROWS]
    return escape("; ".join(said).replace("|", " "))


if __name__ == "__main__":
    main()
