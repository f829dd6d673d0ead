"""The table in docs/reliability.md has each disaster, and what was told of each was right."""

import pytest

from tests.conftest import ROOT

pytest.importorskip("moto", reason="a server of S3 stands for some of the disasters")

from benchmarks.matrix.disasters import DISASTERS
from benchmarks.matrix.table import rows


def test_each_disaster_has_a_row_and_no_answer_was_wrong() -> None:
    found = rows((ROOT / "docs" / "reliability.md").read_text())
    assert list(found) == list(DISASTERS)
    assert not [line for line in found.values() if ": wrong" in line]
