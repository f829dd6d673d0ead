"""docs/api.md is made from the docstrings, and each public name has one."""

import inspect
import runpy
from typing import Any

import pytest

import orchestrator
from tests.conftest import ROOT

SCRIPT: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "make_api_docs.py"))


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "api.md").read_text() == SCRIPT["render"](), (
        "run: python scripts/make_api_docs.py"
    )


@pytest.mark.parametrize("name", orchestrator.__all__)
def test_each_public_name_is_on_the_page_with_a_docstring(name: str) -> None:
    value = getattr(orchestrator, name)
    assert f"\n## `{name}`\n" in (ROOT / "docs" / "api.md").read_text()
    assert inspect.getdoc(value)
    members = list(SCRIPT["members"](value)) if inspect.isclass(value) else []
    assert [member for member, found in members if not inspect.getdoc(found)] == []
