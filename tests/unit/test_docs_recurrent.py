"""docs/recurrent.md: its formulas stand beside code that exists, its pictures below a command."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "recurrent.md"
TEXT = PAGE.read_text()
CELLS = (ROOT / "workers" / "trained" / "explain" / "cells.py").read_text()
PICTURES = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT)


def squeezed(code: str) -> str:
    """Return code without the line breaks of its formatting."""
    return re.sub(r"\s+", "", code)


def test_each_formula_has_a_line_of_the_cells() -> None:
    lines = re.findall(r"^\| .*<sub>.* \| `([^`]+)` \|$|^\| n = .* \| `([^`]+)` \|$", TEXT, re.M)
    codes = [first or second for first, second in lines]
    assert len(codes) == 7
    assert [code for code in codes if squeezed(code) not in squeezed(CELLS)] == []


def test_what_is_said_of_other_files_is_in_them() -> None:
    network = (ROOT / "workers" / "trained" / "explain" / "network.py").read_text()
    assert "`torch.autograd.grad(loss, flat" in TEXT
    (call,) = re.findall(r"`(torch\.autograd\.grad[^`]+)`", TEXT)
    assert squeezed(call) in squeezed(network)
    assert "def _run(" in (ROOT / "workers" / "models" / "recurrent.py").read_text()


@pytest.mark.parametrize("picture", PICTURES)
def test_each_picture_is_the_file_that_the_command_below_it_writes(picture: str) -> None:
    below = TEXT.partition(f"({picture})")[2]
    command = re.search(r"\$ (rnnjob explain .*) --figures (\w+)", below)
    assert command and command.start() < 120
    assert Path(picture).parent.name == command[2]
    root = ET.parse(ROOT / "docs" / picture).getroot()
    assert root.tag.endswith("svg") and (ROOT / "docs" / picture).stat().st_size < 30_000


def test_there_are_no_other_pictures() -> None:
    found = {str(file.relative_to(PAGE.parent)) for file in PAGE.parent.rglob("*.svg")}
    assert found == {*PICTURES, "pictures/architecture.svg"}
