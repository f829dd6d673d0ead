"""Made-up reports in a real headless Chromium."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.runs.report.content import Predicted, WrongRow
from orchestrator.runs.report.html import render, render_explained
from orchestrator.runs.report.scaling import render_curve
from tests.chromium import Tab, in_chromium
from tests.report_pages import check_page
from tests.unit.runs import explanations
from tests.unit.runs.test_report import trained
from tests.unit.runs.test_scaling import curve

PHASE = {"attempt": 1, "workers": 2, "from_step": 0, "steps": 3, "seconds": 4.0,
         "repeated_steps": 0, "idle_s": 0.0}  # fmt: skip
AGAIN = {**PHASE, "attempt": 2, "workers": 1, "from_step": 3, "idle_s": 2.0}


@pytest.mark.slow
def test_figures_are_drawn_and_show_their_values_at_any_width(tmp_path: Path) -> None:
    run = trained(tmp_path)
    epochs = [{**run.result["history"][0], "epoch": n, "step": n} for n in (1, 2, 3)]
    result = {**run.result, "phases": [PHASE, AGAIN], "history": epochs}
    image = WrongRow(1, "a rather long name of a class", "9", 0.99, pixels=bytes(784), width=28)
    lines = WrongRow(2, "4", "9", 0.9, curves=((0.0, 1.0), (2.0, 3.0)))
    long_word = "unbreakable" * 30
    first = replace(
        run,
        result=result,
        restarts=[f"worker: {long_word}"],
        spec={"model.cell": "gru", "storage": f"/{long_word}"},
        provenance={"cpu_flags": ["avx2"] * 40, "source": {"commit": long_word}},
        test=Predicted(20, 3, (image, lines, WrongRow(3, "4", "9", 0.8, tokens=(long_word,)))),
    )
    numbers = replace(
        first,
        result={**result, "per_class": None},
        test=Predicted(3, pairs=((1.0, 1.5), (2.0, 1.5), (3.0, 3.5))),
    )
    pages = {"one": [first], "numbers": [numbers], "many": [first, numbers, numbers, first]}
    for name, reported in pages.items():
        (tmp_path / f"{name}.html").write_bytes(render(reported))

    (tmp_path / "explained.html").write_bytes(render_explained(explanations.ALL[:4]))
    (tmp_path / "deep.html").write_bytes(render([first], [explanations.DEEP]))
    (tmp_path / "value.html").write_bytes(render_explained([explanations.NUMBERS]))
    scaled = render_curve(curve({1: 100.0, 2: 190.0, 8: 300.0}, exchange_s=0.1), ["It pays."])
    (tmp_path / "scaling.html").write_bytes(scaled)

    async def look(tab: Tab) -> None:
        assert await check_page(tab, tmp_path / "one.html") == 6
        assert await check_page(tab, tmp_path / "numbers.html") == 8
        assert await check_page(tab, tmp_path / "many.html") == 5 + 4 * 1 + 2 * 2
        assert await check_page(tab, tmp_path / "explained.html") == 3 + 3 + 4
        assert await check_page(tab, tmp_path / "deep.html") == 6 + 2 + 4 + 1
        assert await check_page(tab, tmp_path / "value.html") == 4
        assert await check_page(tab, tmp_path / "scaling.html") == 2

    in_chromium(tmp_path / "profile", look)
