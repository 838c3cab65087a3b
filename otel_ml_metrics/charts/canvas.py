"""A picture of a few panels, drawn by matplotlib and handed over as an SVG element that reads on light and dark.

Its artists are drawn right on its SVG renderer, without pyplot, Figure and Axes: nine tenths of what a small picture
costs are the tick objects of its Axes, and to import a Figure takes longer than to draw the dozens of small pictures
that a report has.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import IdentityTransform

from otel_ml_metrics.charts.palette import COLOURS, INK, MUTED, RULE, STYLE, SURFACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.backend_bases import RendererBase
    from numpy.typing import ArrayLike, NDArray

    from otel_ml_metrics.charts.palette import Colour

Limits = tuple[float, float]

FONT: Final = 11.0
_RISE: Final = {"top": -0.76, "center": -0.26, "bottom": 0.24}  # of a baseline above what a text is placed by, in fonts
_FLAT: Final = 1e-9
_SVG: Final = "http://www.w3.org/2000/svg"
_RC: Final[dict[Any, Any]] = {"svg.fonttype": "none", "path.simplify": False}  # texts stay texts
_DIGITS: Final = re.compile(r"(?<=\.\d\d)\d+")
_FONT_FAMILY: Final = re.compile(r"font-family:[^;]*;?|font:[^;]*;?")


@dataclass(frozen=True)
class Panel:
    """A rectangle of a picture with a scale each way.

    Args:
        artists: Of the picture, to which its own are added.
        left: Of the rectangle, in the units of the picture, from its lower left corner.
        bottom: The same.
        width: Of the rectangle.
        height: Of the rectangle.
        x: What its left and right stand for.
        y: What its bottom and top stand for.
    """

    artists: list[Artist]
    left: float
    bottom: float
    width: float
    height: float
    x: Limits
    y: Limits

    def at(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where numbers are in the picture; what is beyond a limit is put on it, and NaN stays."""
        return (
            _scaled(x, self.x, self.left, self.width),
            _scaled(y, self.y, self.bottom, self.height),
        )

    def line(self, x: ArrayLike, y: ArrayLike, colour: Colour, **style: Any) -> None:  # noqa: ANN401  of Line2D
        """Draw a line, broken where a number is NaN."""
        across, up = self.at(x, y)
        self.artists.append(_line(across, up, colour, **style))

    def dots(self, x: ArrayLike, y: ArrayLike, colour: Colour, *, size: float = 5.0, hollow: bool = False) -> None:
        """Draw a dot for each pair, as the round cap of a line without length: one path for all of them."""
        across, up = self.at(np.repeat(np.asarray(x, float), 3), np.repeat(np.asarray(y, float), 3))
        across[2::3] = np.nan
        for each, width in ((colour, size), (SURFACE, size - 2.5))[: 2 if hollow else 1]:
            self.artists.append(_line(across, up, each, linewidth=width, solid_capstyle="round"))

    def band(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, colour: Colour, *, opacity: float = 0.18) -> None:
        """Fill between two lines, broken where a number is NaN."""
        lows, highs = np.asarray(low, float), np.asarray(high, float)
        there = np.isfinite(lows) & np.isfinite(highs)
        starts = np.flatnonzero(there & ~np.append(False, there[:-1]))
        ends = np.flatnonzero(there & ~np.append(there[1:], False)) + 1
        across, below = self.at(x, lows)
        _, above = self.at(x, highs)
        shapes = [
            np.column_stack(
                (np.append(across[one:end], across[one:end][::-1]), np.append(below[one:end], above[one:end][::-1]))
            )
            for one, end in zip(starts, ends, strict=True)
        ]
        self.fill(shapes, colour, opacity=opacity)

    def bars(self, left: ArrayLike, right: ArrayLike, height: ArrayLike, colour: Colour, *, opacity: float) -> None:
        """Draw a bar from the bottom for each height."""
        floor = np.full(np.shape(np.asarray(height)), self.y[0])
        (from_, low), (to, high) = self.at(left, floor), self.at(right, height)
        shapes = [
            np.array([(a, b), (c, b), (c, d), (a, d)]) for a, b, c, d in zip(from_, low, to, high, strict=True) if d > b
        ]
        self.fill(shapes, colour, opacity=opacity)

    def fill(self, shapes: Sequence[NDArray[np.float64]], colour: Colour, *, opacity: float) -> None:
        """Fill polygons, given where they are in the picture."""
        if shapes:
            path = Path.make_compound_path(*(Path(np.vstack((each, each[:1])), closed=True) for each in shapes))
            patch = PathPatch(path, facecolor=colour.drawn, edgecolor="none", alpha=opacity)
            patch.set_transform(IdentityTransform())
            self.artists.append(patch)

    def grid(self, ticks: Iterable[tuple[float, str]]) -> None:
        """Draw a rule across for each tick, with its number at the left."""
        for value, told in ticks:
            self.line(self.x, (value, value), RULE, linewidth=0.8)
            _, up = self.at(0, value)
            self._text(self.left - 6, float(up), told, MUTED, ha="right", va="center")

    def below(self, ticks: Iterable[tuple[float, str]]) -> None:
        """Write ticks below the panel, those at its ends inside of it."""
        for value, told in ticks:
            across, _ = self.at(value, 0)
            place = float(across)
            near = 0.1 * self.width
            side = (
                "left" if place < self.left + near else "right" if place > self.left + self.width - near else "center"
            )
            self._text(place, self.bottom - 6, told, MUTED, ha=side, va="top")

    def beside(self, told: str, up: float) -> None:
        """Write at the left of the panel."""
        _, place = self.at(0, up)
        self._text(self.left - 8, float(place), told, INK, ha="right", va="center")

    def note(self, told: str, *, up: float = 0.5, colour: Colour = MUTED) -> None:
        """Write in the middle of the panel."""
        self._text(self.left + self.width / 2, self.bottom + up * self.height, told, colour, ha="center", va="center")

    def corner(self, told: str, *, right: bool = False) -> None:
        """Write into an upper corner, above the panel."""
        place = self.left + self.width if right else self.left
        self._text(place, self.bottom + self.height + 4, told, MUTED, ha="right" if right else "left", va="bottom")

    def _text(self, x: float, y: float, told: str, colour: Colour, **place: str) -> None:
        if told:
            self.artists.append(_Telling(x, y, told, colour, **place))


class Canvas:
    """A picture to draw on.

    Args:
        width: In units, of which a letter of text is about 6 wide.
        height: In units.
    """

    def __init__(self, width: float, height: float) -> None:
        self.width = width
        self.height = height
        self._artists: list[Artist] = []
        ground = np.array([(0, 0), (width, 0), (width, height), (0, height)])
        self.panel(left=0, top=0, right=0, bottom=0, x=(0, 1), y=(0, 1)).fill([ground], SURFACE, opacity=1)

    def panel(self, *, left: float, top: float, right: float, bottom: float, x: Limits, y: Limits) -> Panel:
        """A rectangle, by its distances from the edges of the picture."""
        width, height = self.width - left - right, self.height - top - bottom
        return Panel(self._artists, left, bottom, width, height, _widened(x), _widened(y))

    def legend(self, entries: Sequence[tuple[str, Colour, Any]], *, left: float, top: float) -> None:
        """Name lines in a row: a piece of each and what it is."""
        place = left
        for name, colour, dash in entries:
            height = self.height - top
            self._artists.append(_line((place, place + 16), (height, height), colour, linestyle=dash, linewidth=2))
            self._artists.append(_Telling(place + 21, height, name, INK, ha="left", va="center"))
            place += 34 + 6.2 * len(name)

    def title(self, told: str, *, left: float, top: float) -> None:
        """Write a heading."""
        self._artists.append(_Telling(left, self.height - top, told, INK, ha="left", va="center", weight="bold"))

    def svg(self, *, title: str, description: str) -> str:
        """The picture as an SVG element with its name, what it says in words, and its colours.

        Args:
            title: What it is, for those who do not see it, and as its tooltip.
            description: What it shows.
        """
        drawn = io.StringIO()
        with mpl.rc_context(_RC):
            renderer = RendererSVG(self.width, self.height, drawn, metadata={"Date": None})
            for artist in sorted(self._artists, key=Artist.get_zorder):  # areas below lines below texts
                artist.draw(renderer)
            renderer.finalize()
        return _cleaned(drawn.getvalue(), title, description)


def ticks(limits: Limits, *, most: int = 4) -> list[tuple[float, str]]:
    """A few round numbers within limits, written with as many decimals as tell them apart."""
    low, high = _widened(limits)
    found = [float(each) for each in MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]
    step = found[1] - found[0] if len(found) > 1 else 1.0
    decimals = max(0, int(np.ceil(-np.log10(step) + _FLAT)) + (0 if _is_decade(step) else int(step < 1)))
    slack = _FLAT * (high - low)
    return [(each, _written(each, decimals)) for each in found if low - slack <= each <= high + slack]


def _is_decade(step: float) -> bool:
    leading = step / 10 ** np.floor(np.log10(step))
    return bool(abs(leading - round(leading)) < _FLAT)


def _written(value: float, decimals: int) -> str:
    return f"{value:,.{decimals}f}".replace("-0", "0") if value == 0 else f"{value:,.{decimals}f}"


def _widened(limits: Limits) -> Limits:
    """Limits that differ, whatever was found."""
    low, high = limits
    if high - low > _FLAT * max(abs(low), abs(high), 1e-300):
        return low, high
    around = abs(low) * 0.05 or 0.5
    return low - around, high + around


def _scaled(values: ArrayLike, limits: Limits, start: float, length: float) -> NDArray[np.float64]:
    low, high = limits
    return np.asarray(start + (np.clip(np.asarray(values, float), low, high) - low) / (high - low) * length)


def _line(across: ArrayLike, up: ArrayLike, colour: Colour, **style: Any) -> Line2D:  # noqa: ANN401  of Line2D
    return Line2D(across, up, color=colour.drawn, transform=IdentityTransform(), **style)


class _Telling(Text):
    """A line of text, written as it stands: a "$" starts no formula, and nobody measures it.

    To measure it takes a Figure, and that takes longer than everything else there is to draw.
    """

    def __init__(self, x: float, y: float, told: str, colour: Colour, **style: Any) -> None:  # noqa: ANN401  of Text
        super().__init__(x, y, told, color=colour.drawn, fontsize=FONT, transform=IdentityTransform(), **style)

    def draw(self, renderer: RendererBase) -> None:
        """Write it so that its letters are above, around or below its place, as its alignment says."""
        x, y = self.get_position()
        _, height = renderer.get_canvas_width_height()
        down = height - y - _RISE[self.get_verticalalignment()] * FONT
        drawn = renderer.new_gc()
        drawn.set_foreground(self.get_color())
        renderer.draw_text(drawn, x, down, self.get_text(), self.get_fontproperties(), 0, mtext=self)


def _cleaned(drawn: str, title: str, description: str) -> str:
    """The SVG without what the library says of itself, with variables for colours, a name and a description."""
    root = ET.fromstring(drawn)  # noqa: S314  the library's own output, in which texts are escaped
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib.pop("id", None)
        if "d" in element.attrib:
            element.set("d", _DIGITS.sub("", " ".join(element.attrib["d"].split())))
        if "style" in element.attrib:
            element.set("style", _coloured(element.attrib["style"]))
    for name in ("metadata", "defs"):
        for each in root.findall(name):
            root.remove(each)
    named = {"title": title, "desc": description, "style": STYLE}
    for at, (name, told) in enumerate(named.items()):
        element = ET.Element(name)
        element.text = told
        root.insert(at, element)
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"xmlns": _SVG, "class": "chart", "role": "img", "aria-label": title, "viewBox": box})
    return ET.tostring(root, encoding="unicode")


def _coloured(style: str) -> str:
    for colour in COLOURS:
        style = style.replace(colour.drawn, colour.css)
    return _FONT_FAMILY.sub("", style)
