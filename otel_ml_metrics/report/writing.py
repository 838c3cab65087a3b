"""A survey as one HTML file that needs nothing else: no script, no network."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from otel_ml_metrics.charts.palette import variables
from otel_ml_metrics.errors import LedgerError
from otel_ml_metrics.report.chapter import Chapter
from otel_ml_metrics.report.comparison import comparison
from otel_ml_metrics.report.labels import labels
from otel_ml_metrics.report.page import Page
from otel_ml_metrics.report.scores import scores
from otel_ml_metrics.report.slices import slices
from otel_ml_metrics.report.values import by_age, glance, over_time
from otel_ml_metrics.spelling import minute

if TYPE_CHECKING:
    from otel_ml_metrics.report.page import Section
    from otel_ml_metrics.survey import Survey

_HERE: Final = Path(__file__).parent
_PARTS: Final = (glance, over_time, by_age, scores, slices, comparison)


def write_report(survey: Survey, path: Path) -> int:
    """Write the page of a survey, in the place of what was there; its size in bytes.

    Raises:
        LedgerError: The file cannot be written.
    """
    page = html(page_of(survey)).encode()
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(page)
        aside.replace(path)
    except OSError as problem:
        message = f"The report cannot be written to {path}: {problem.strerror}. Name another file with -o."
        raise LedgerError(message) from problem
    return len(page)


def html(page: Page) -> str:
    """The page as HTML; every text in it is escaped."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2").render(
        page=page, style=_style(), version=version("otel-ml-metrics")
    )


def page_of(survey: Survey) -> Page:
    """What the page says: a chapter per output, and the labels."""
    outputs = sorted({v.output for v in survey.values} | {gap.arm[2] for gap in survey.gaps}, key=str) or [None]
    chapters = [Chapter.of(survey, output, number) for number, output in enumerate(outputs, 1)]
    return Page(
        title=f"{survey.evaluation.name}: what its labels say",
        facts=_facts(survey),
        notes=[*_notes(survey), *(note for chapter in chapters for note in _unshown(chapter))],
        sections=[*_sections(chapters), labels(survey)],
    )


def _sections(chapters: list[Chapter]) -> list[Section]:
    return [part(chapter) for chapter in chapters for part in _PARTS]


def _facts(survey: Survey) -> list[tuple[str, str]]:
    evaluation = survey.evaluation
    return [
        ("Model", evaluation.model),
        ("As of", "no run yet" if survey.as_of is None else minute(survey.as_of)),
        ("Windows", f"{len(survey.windows):,} of {evaluation.window}"),
        ("Judged at", ", ".join(map(str, evaluation.maturities))),
        ("Labels matched", f"{survey.totals.labels['matched']:,}"),
        ("Ledger version", f"{survey.ledger_version:,}"),
    ]


def _notes(survey: Survey) -> list[str]:
    if survey.as_of is None:
        return [
            "The ledger is empty or not there yet. The first `otel-ml-metrics evaluate` fills it; then write again."
        ]
    if not survey.windows:
        return [
            "No prediction has been read yet. `otel-ml-metrics check` tells whether the log and the fields are right."
        ]
    notes = []
    if survey.earlier:
        notes.append(
            f"{survey.earlier:,} earlier windows are in the ledger and not on this page: --windows shows more."
        )
    if survey.evaluation.provisional:
        notes.append("Provisional values (hollow, in italics) are of windows that may still change at that age.")
    return notes


def _unshown(chapter: Chapter) -> list[str]:
    if not chapter.unshown:
        return []
    return [f"Versions and variants that served less recently are not drawn: {', '.join(chapter.unshown)}."]


def _style() -> str:
    light, dark = variables(dark=False), variables(dark=True)
    sheet = (_HERE / "style.css").read_text(encoding="utf-8")
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{sheet}"
