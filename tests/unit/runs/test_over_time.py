"""What models do while they read: the figures, on a page and as files, and the summary."""

import io
import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator.display.explanation import WIDTH, summary
from orchestrator.runs.report.html import render, render_explained
from orchestrator.runs.report.over_time import figures
from orchestrator.runs.report.png import NEGATIVE, POSITIVE, signed_png
from tests.unit.runs import explanations as made
from tests.unit.runs.test_report import Page, trained
from workers.errors import InputError
from workers.trained.explain.explanation import Explanation, to_json


@pytest.mark.parametrize("found", made.ALL, ids=lambda found: found.name)
def test_each_figure_is_a_part_of_a_page_and_a_file(found: Explanation) -> None:
    drawn = figures([found])
    wanted = {"unrolled", found.score, "gradient-input" if found.cell == "own" else "gradient"}
    gates = {"gates"} if found.gates else set()
    if found.num_layers > 1:
        gates = {f"gates-layer{n}{way}" for n in (1, 2) for way in ("", "-backwards")}
    assert set(drawn) == wanted | gates
    for figure in drawn.values():
        Page(figure.html())
        content = figure.file().decode()
        root = ET.fromstring(content)
        assert root.tag.endswith("svg") and figure.title in content
        assert content.count("://") == 1, "nothing but the name of SVG itself"
        assert "prefers-color-scheme: dark" in content


def test_several_models_share_a_chart_and_have_files_of_their_own() -> None:
    drawn = figures([made.LSTM, made.CUT, made.OWN])
    assert set(drawn) == {
        "gradient", "gradient-input", "accuracy", "gates-first", "gates-cut-best",
        "unrolled-first", "unrolled-cut-best", "unrolled-own",
    }  # fmt: skip
    names = [key.name for key in drawn["gradient"].keys]
    assert names == ["first", "first, cell state", "cut:best"]
    assert "zero, and not drawn, where training cuts it: cut:best" in drawn["gradient"].note
    cut = drawn["gradient"].keys[2]
    assert [value.where for value in cut.values] == ["0", "1", "2"]


def test_tokens_are_escaped() -> None:
    page = Page(figures([made.TOKENS])["unrolled"].html())
    assert "w-0<b>" in page.text and page.tags.count("b") == 1, "that of the title"


def test_the_values_of_a_step_are_said() -> None:
    figure = figures([made.LSTM])["unrolled"]
    text = figure.html().partition('json">')[2].partition("</script>")[0]
    series = {each["name"]: each["points"] for each in json.loads(text)["series"]}
    assert [point[2:] for point in series["decision"]][-1] == ["12", "yes, 91.7%"]
    assert len(series["decision"]) == len(series["input"]) == len(series["state"]) == made.STEPS
    assert "It is yes; from step 8 of 12 on the model says yes, 91.7% at the end." in figure.words
    assert "says 1,011" in figures([made.NUMBERS])["unrolled"].words


def test_runs_of_different_tasks_and_too_many_are_refused() -> None:
    with pytest.raises(InputError, match=r"accuracy.*MAE.*different tasks"):
        figures([made.LSTM, made.NUMBERS])
    with pytest.raises(InputError, match="9 runs do not fit one chart"):
        figures([made.LSTM] * 9)


def test_a_report_has_the_section_if_it_was_asked_for(tmp_path: Path) -> None:
    run = trained(tmp_path)
    assert "While it reads" not in render([run]).decode()
    page = Page(render([run], [made.LSTM]).decode())
    assert "While it reads" in page.text and "LSTM, 2 units, back-propagation full" in page.text
    assert page.tags.count("svg") == 6 + 4
    several = Page(render([run, run], [made.LSTM, made.CUT]).decode())
    assert several.tags.count("svg") == 5 + 2 + 6
    alone = render_explained([made.LSTM]).decode()
    assert "://" not in alone and Page(alone).tags.count("svg") == 4


@pytest.mark.parametrize("found", [made.ALL[:4], (made.NUMBERS,), (made.DEEP,)])
def test_the_summary_fits_80_columns(found: tuple[Explanation, ...]) -> None:
    out = io.StringIO()
    console = Console(file=out, width=WIDTH)
    for part in summary(found):
        console.print(part)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    assert "by steps read" in out.getvalue() and "gradient, by steps to end" in out.getvalue()


def test_everything_is_in_the_json_and_what_is_not_finite_is_null() -> None:
    content = to_json(replace(made.LSTM, scores=(float("nan"), 0.5)))
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["scores"] == [None, 0.5]
    assert content["unrolled"]["states"][0] == [1.0, 0.0]


def test_an_image_of_numbers_is_blue_above_zero_and_orange_below() -> None:
    from PIL import Image

    rows = [[1.0, -0.5], [0.0, float("nan")]]
    image = Image.open(io.BytesIO(signed_png(rows, 1.0)))
    assert image.getpixel((0, 0)) == (*POSITIVE, 255)
    assert image.getpixel((1, 0)) == (*NEGATIVE, 128)
    assert [image.getpixel((x, 1))[3] for x in (0, 1)] == [0, 0]  # type: ignore[index]
