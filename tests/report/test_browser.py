"""The page in a real browser: it renders, reads on light and dark, and works without a mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import pytest

from otel_ml_metrics.report.writing import write_report
from tests.browser import visiting
from tests.report.conftest import HOSTILE, surveyed

if TYPE_CHECKING:
    from tests.evaluation.material import World

pytestmark = pytest.mark.browser

READABLE: Final = 4.5
"""Contrast of text against its ground that WCAG 2 asks for (AA)."""

CONTRASTS: Final = """() => {
  const context = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d');
  const over = (paint, ground) => {
    context.fillStyle = `rgb(${ground.join(' ')})`; context.fillRect(0, 0, 1, 1);
    context.fillStyle = paint; context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const ground = each => {
    const around = each.parentElement ? ground(each.parentElement) : [255, 255, 255];
    return over(getComputedStyle(each).backgroundColor, around);
  };
  const light = colour => {
    const [r, g, b] = colour.map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  return [...document.querySelectorAll('body *')]
    .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .filter(e => !['title', 'desc', 'style'].includes(e.tagName))
    .map(e => {
      const behind = ground(e), style = getComputedStyle(e);
      const ink = over(e instanceof SVGElement ? style.fill : style.color, behind);
      const [high, low] = [light(ink), light(behind)].sort((a, b) => b - a);
      return [e.textContent.trim().slice(0, 40), (high + 0.05) / (low + 0.05)];
    });
}"""


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_reads_everywhere(served: World, width: int, colours: Literal["light", "dark"]) -> None:
    """No error, nothing from elsewhere, no sideways scrolling, and every text stands out from its ground."""
    path = served.folder / "report.html"
    write_report(surveyed(served, provisional=True), path)

    with visiting(width=width, colours=colours) as visit:
        visit.page.goto(path.as_uri())
        visit.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        contrasts = visit.page.evaluate(CONTRASTS)
        across = visit.page.evaluate("document.documentElement.scrollWidth")
        visit.keep(f"report-{width}-{colours}", full_page=True)

    assert (visit.errors, visit.beyond) == ([], [])
    assert across <= width
    assert any(text.startswith(f"carrier={HOSTILE}") for text, _ in contrasts)
    assert [(text, ratio) for text, ratio in contrasts if ratio < READABLE] == []


def test_keys_and_screen_readers_find_their_way(served: World) -> None:
    """Landmarks, a name for every picture, and focus that goes down the page from the skip link on."""
    path = served.folder / "report.html"
    write_report(surveyed(served), path)

    with visiting() as visit:
        page = visit.page
        page.goto(path.as_uri())
        lang, title = page.evaluate("[document.documentElement.lang, document.title]")
        landmarks = [page.get_by_role(role).count() for role in ("banner", "navigation", "main", "contentinfo")]
        pictures = page.get_by_role("img")
        names = [picture.get_attribute("aria-label") for picture in pictures.all()]
        page.keyboard.press("Tab")
        first = page.evaluate("document.activeElement.textContent")
        page.keyboard.press("Enter")
        skipped_to = page.evaluate("location.hash")
        places = []
        for _ in range(12):
            page.keyboard.press("Tab")
            places.append(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))

    assert (lang, title) == ("en", "flight-delay/flight-delay: what its labels say")
    assert landmarks == [1, 1, 1, 1]
    assert len(names) > 5
    assert all(names)
    assert (first, skipped_to) == ("Skip to the values", "#main")
    assert places == sorted(set(places))
