"""The table in docs/reliability.md: a row for each disaster that was tried."""

from pathlib import Path

from benchmarks.matrix.disasters import DISASTERS, Disaster
from benchmarks.matrix.verbs import COLUMNS, Cell

_DOCS = Path(__file__).parents[2] / "docs" / "reliability.md"
_BEGIN, _END = "<!-- matrix: written by make matrix -->\n", "<!-- end of the matrix -->\n"


def row(disaster: Disaster, cells: dict[str, Cell]) -> str:
    told = [cells.get(column, ("", True)) for column in COLUMNS]
    words = [text if right else f"**{text}: wrong**" for text, right in told]
    return f"| {' | '.join([disaster.text, *words])} |"


def rows(docs: str) -> dict[str, str]:
    """Return the rows that are in the docs, by disaster, in the order of the disasters."""
    lines = docs.partition(_BEGIN)[2].partition(_END)[0].splitlines()
    return {
        name: line
        for name, disaster in DISASTERS.items()
        for line in lines
        if line.startswith(f"| {disaster.text} |")
    }


def write_row(name: str, line: str) -> None:
    """Replace a row of the table in the docs. The others stay."""
    docs = _DOCS.read_text()
    before, _, rest = docs.partition(_BEGIN)
    known = {**rows(docs), name: line}
    head = [f"| what was done | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines = [*head, *(known[each] for each in DISASTERS if each in known)]
    _DOCS.write_text(before + _BEGIN + "\n".join(lines) + "\n" + _END + rest.partition(_END)[2])
