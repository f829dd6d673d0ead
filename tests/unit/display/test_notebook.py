"""A job's progress in a notebook: one output that is drawn again, by a fake of IPython."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.display.notebook import NotebookView, Output, as_table, notebook_output
from orchestrator.runs import RunStatus
from tests.unit.runs import whole_records

RUNNING = RunStatus(run_id="a", state="RUNNING", mode="local")


class FakeOutput:
    """An output that keeps everything that was drawn."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def open(self, content: Any) -> Output:
        self.update(content)
        return self

    def update(self, content: Any) -> None:
        self.pages.append(content._repr_html_())


def test_one_output_shows_how_far_a_job_is() -> None:
    output = FakeOutput()
    with NotebookView(output.open, num_steps=8) as view:
        view.update(RUNNING, [whole_records.step(2)])
    assert len(output.pages) == 2
    assert '<progress value="0" max="8"' in output.pages[0]
    assert '<progress value="2" max="8"' in output.pages[1]
    assert "running" in output.pages[1] and "step 2 of 8" in output.pages[1]


def test_text_of_a_stranger_is_no_html() -> None:
    output = FakeOutput()
    with NotebookView(output.open, num_steps=None) as view:
        view.note("<script>\x1b[2J</script>")
    assert "<script>" not in output.pages[-1] and "\x1b" not in output.pages[-1]
    assert "&lt;script&gt;\\x1b[2J" in output.pages[-1]
    assert "<b>" not in as_table([("<b>", "<b>")])


@pytest.mark.parametrize(
    ("shell", "is_shown"),
    [(None, False), (SimpleNamespace(), False), (SimpleNamespace(kernel=object()), True)],
    ids=["no shell", "a terminal", "a kernel"],
)
def test_only_a_kernel_has_outputs(
    shell: Any, is_shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[Any, bool]] = []

    def display(content: Any, *, display_id: bool) -> Any:
        shown.append((content, display_id))
        return SimpleNamespace(update=shown.append)

    ipython = SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    open_output = notebook_output()
    assert (open_output is not None) == is_shown
    if open_output:
        open_output("page")
        assert shown == [("page", True)]


def test_without_ipython_there_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert notebook_output() is None
    assert "IPython" not in sys.modules
