"""What a page is made of: sections of cards, cards of a picture and tables; texts are plain, and escaped later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Args:
        text: What it says.
        small: What stands below it: the interval, or what the value rests on.
        kind: `undefined`, `pending`, `provisional`, `better` or `worse`; empty for a plain one.
        tint: 0 to 1, how deep its ground is; None for none.
    """

    text: str
    small: str = ""
    kind: str = ""
    tint: float | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; the first cell of each row names it.

    Args:
        caption: What it is.
        header: Names of the columns.
        rows: As many cells each.
        is_open: Whether it shows without being asked for.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    is_open: bool = True


@dataclass(frozen=True, kw_only=True)
class Card:
    """A picture with its tables.

    Args:
        title: Of the card.
        note: A sentence or two.
        picture: SVG; None for none.
        tables: What the picture shows, and more.
        is_wide: Whether it takes the whole width.
    """

    title: str
    note: str = ""
    picture: str | None = None
    tables: Sequence[Table] = ()
    is_wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page.

    Args:
        key: Its anchor.
        title: Its heading.
        lead: How to read it.
        cards: What is in it.
        missing: Why there is nothing (or not everything) in it.
    """

    key: str
    title: str
    lead: str
    cards: Sequence[Card] = ()
    missing: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Page:
    """The whole page.

    Args:
        title: Of the page.
        facts: Name and value of what holds for all of it.
        notes: What a reader has to know first.
        sections: In the order of the page.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    notes: Sequence[str]
    sections: Sequence[Section]
