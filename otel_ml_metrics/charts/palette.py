"""The colours of a chart, as CSS variables: the same picture reads on light and on dark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Colour:
    """One role in a picture.

    Args:
        name: Of the CSS variable.
        light: Where the reader prefers light.
        dark: Where the reader prefers dark.
        drawn: What the plotting library is given, and the variable takes the place of; no two are alike.
    """

    name: str
    light: str
    dark: str
    drawn: str

    @property
    def css(self) -> str:
        """The colour where CSS is expected, light where the variable is not known."""
        return f"var({self.name}, {self.light})"


SURFACE: Final = Colour("--surface", "#ffffff", "#161b22", "#000001")
INK: Final = Colour("--ink", "#1f2328", "#e6edf3", "#000002")
MUTED: Final = Colour("--muted", "#59636e", "#9da7b3", "#000003")
RULE: Final = Colour("--rule", "#d8dee4", "#30363d", "#000004")
ARMS: Final = (
    Colour("--arm-1", "#0969da", "#58a6ff", "#000011"),
    Colour("--arm-2", "#bc4c00", "#ffa657", "#000012"),
    Colour("--arm-3", "#1a7f37", "#56d364", "#000013"),
    Colour("--arm-4", "#8250df", "#d2a8ff", "#000014"),
)
"""Of versions or variants side by side; dashes tell them apart as well, for those who do not see the colours."""

DASHES: Final = ("solid", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))

REST: Final = ARMS[1]
"""Of what is set against the first colour where there are no arms: negatives against positives."""

COLOURS: Final = (SURFACE, INK, MUTED, RULE, *ARMS)


def variables(*, dark: bool) -> str:
    """Declarations of all variables, for a style sheet."""
    return ";".join(f"{each.name}:{each.dark if dark else each.light}" for each in COLOURS)


STYLE: Final = (
    f".chart{{{variables(dark=False)};color-scheme:light dark}}"
    f"@media (prefers-color-scheme:dark){{.chart{{{variables(dark=True)}}}}}"
    ".chart text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif;"
    "font-variant-numeric:tabular-nums}"
)
"""What a picture carries with it, so that it reads on its own as well."""
