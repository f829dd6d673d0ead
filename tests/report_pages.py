"""What must hold for a report in a browser."""

from itertools import pairwise
from pathlib import Path

from tests.chromium import Tab

CHARTS = "document.querySelectorAll('figure.chart')"
NAMELESS = """[...document.querySelectorAll(
    "[tabindex]:not([aria-label]), th:empty, img:not([alt]), svg:not([aria-label])"
)].map(each => each.outerHTML)"""
LEVELS = "[...document.querySelectorAll('h1, h2, h3')].map(each => Number(each.tagName[1]))"
TIP = "document.querySelector('figure.chart.on .tip')"


async def check_page(tab: Tab, page: Path) -> int:
    """Check a page at both widths, in light and dark. Return the number of its charts."""
    for scheme in ("light", "dark"):
        await tab.prefer(scheme)
        for width in (1400, 390):
            await tab.resize(width)
            await tab.open(page)
            assert await tab.run("document.documentElement.scrollWidth") <= width, (page, width)
            await tab.run("document.querySelectorAll('details').forEach(each => each.open = true)")
            assert await tab.run("document.documentElement.scrollWidth") <= width, (page, width)
            number = int(await tab.run(f"{CHARTS}.length"))
            for place in range(number):
                await _check_chart(tab, f"{CHARTS}[{place}]")
            assert await tab.run(NAMELESS) == [], page
            levels = await tab.run(LEVELS)
            assert all(deeper <= level + 1 for level, deeper in pairwise(levels)), levels
            pictures = "[...document.images].every(each => each.naturalWidth > 0)"
            assert await tab.run(pictures), page
        background = await tab.run("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert tab.errors == []
    return number


async def _check_chart(tab: Tab, chart: str) -> None:
    """Check that a chart is drawn, and that its values appear under the pointer and at keys."""
    await tab.run(f"{chart}.scrollIntoView({{block: 'center'}})")
    drawn = f"[...{chart}.querySelectorAll('svg .line, svg circle, svg rect')]"
    box = f"(() => {{ const b = {chart}.querySelector('svg').getBoundingClientRect();"
    left, top, width, height = await tab.run(f"{box} return [b.x, b.y, b.width, b.height]; }})()")
    assert width > 250 and height > 100
    assert await tab.run(f"{drawn}.some(each => each.getBoundingClientRect().width > 0)")
    await tab.point(left + 0.6 * width, top + 0.5 * height)
    name = await tab.run(f"{chart}.querySelector('.key').textContent")
    shown = await tab.run(f"{TIP}.innerText")
    assert ":" in shown and await tab.run(f"{TIP}.getBoundingClientRect().width") > 20, name
    right_end = await tab.run(f"{TIP}.getBoundingClientRect().right")
    assert right_end <= await tab.run("document.documentElement.clientWidth"), name
    await tab.run(f"{chart}.querySelector('svg').focus()")
    await tab.press("Home")
    first = await tab.run(f"{TIP}.innerText")
    await tab.press("End")
    points = f"JSON.parse({chart}.querySelector('script').textContent).series"
    places = await tab.run(f"new Set({points}.flatMap(s => s.points.map(p => p[0]))).size")
    assert (first != await tab.run(f"{TIP}.innerText")) == (places > 1), name
    await tab.press("Escape")
    assert await tab.run(f"{TIP} === null"), name
