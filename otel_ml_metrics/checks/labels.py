"""Labels: are they there, can they be read as declared, and do they name predictions of the log?"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.attribution.tables import values
from otel_ml_metrics.checks.findings import Finding
from otel_ml_metrics.declared_labels import LabelFiles, LabelFunction, LabelTable
from otel_ml_metrics.engines.duckdb import DuckDBEngine
from otel_ml_metrics.engines.label_statements import read_labels, troubled_labels
from otel_ml_metrics.errors import LogError
from otel_ml_metrics.identifiers import instant_ms
from otel_ml_metrics.instants import from_us, to_us
from otel_ml_metrics.labels.opening import Glancing, source_of
from otel_ml_metrics.prediction_log.reader import segments
from otel_ml_metrics.storage.locations import fixed_part, is_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_ml_metrics.attribution.inputs import LabelPart
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.declared_labels import Labels
    from otel_ml_metrics.engines.port import Engine

MOST_LABEL_FILES: Final = 50
"""Label files that are read, the newest by name; all of them may be very many."""

MOST_IDS: Final = 1_000
"""Labels, the newest by instant, whose predictions are looked for."""

MOST_LOG_FILES: Final = 200
"""Files of the log in which they are looked for."""

MOST_NAMES: Final = 3


def look_at_labels(evaluation: Evaluation) -> Iterator[Finding]:
    """See whether labels can be read as they are declared, are usable, and name predictions of the log."""
    now_us = to_us(datetime.now(UTC))
    source = source_of(evaluation)
    survey = source.glance(now_us=now_us) if isinstance(source, Glancing) else source.survey({}, as_of_us=now_us)
    if not survey.parts:
        yield Finding("labels", "warn", *_nothing_yet(evaluation.labels))
        return
    newest = survey.parts[-MOST_LABEL_FILES:]
    if isinstance(evaluation.labels, LabelFiles):
        told = f"{len(survey.parts):,} files, {{rows:,}} rows in the newest {len(newest):,}"
    else:
        told = f"{newest[0].shown} can be read; {{rows:,}} rows looked at"
    with closing(DuckDBEngine()) as engine:
        rows, problems = _usable(engine, newest, evaluation, until_us=now_us)
        yield _readable(told.format(rows=rows), rows, problems)
        if not evaluation.labels.keys:
            yield from _look_at_ids(engine, evaluation)


def _readable(told: str, rows: int, problems: dict[str, int]) -> Finding:
    if not problems:
        return Finding("labels", "ok", f"{told}, all usable")
    bad = ", ".join(f"{count:,} with {problem}" for problem, count in problems.items())
    told = f"{told}, of which not usable: {bad}"
    if sum(problems.values()) < rows:
        return Finding("labels", "warn", told, "A run keeps them aside and goes on.")
    return Finding(
        "labels", "fail", told, "That is every one: mend the columns under labels: (or task:), or the source."
    )


def _nothing_yet(labels: Labels) -> tuple[str, str]:
    """What to say of a source that has nothing, and what to do about it."""
    if isinstance(labels, LabelFiles):
        return f"no file is there yet: {labels.path}", _what_is_there(labels.path)
    if isinstance(labels, LabelFunction):
        return f"{labels.shown} gave nothing for the last day", "Labels come late; is that so?"
    if isinstance(labels, LabelTable):
        return f"{labels.shown} of {labels.shown_url} has no row yet", "Labels come late; is that the one?"
    return "the source has nothing yet", "Labels come late; is that so?"


def _what_is_there(path: str) -> str:
    """What to do about a path or a pattern that matches no file."""
    folder = Path(path if is_url(path) else fixed_part(path))
    if is_url(path):
        return "Labels come late; is that the path?"
    if not folder.exists():
        return f"There is no {folder}: make it, or mend labels.path."
    names = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    if not names:
        return "Labels come late; the folder is empty."
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{folder} has {', '.join(names[:MOST_NAMES])}{more}: if labels are among them, mend labels.path."


def _usable(
    engine: Engine, parts: Sequence[LabelPart], evaluation: Evaluation, *, until_us: int
) -> tuple[int, dict[str, int]]:
    """How many label rows there are, and how many have which problem."""
    labels = evaluation.labels
    read_labels(engine, parts, labels, kind=evaluation.label_kind, classes=evaluation.classes, until_us=until_us)
    [rows] = values(engine.sql("SELECT count(*) AS rows FROM raw_labels"), "rows")
    troubled = troubled_labels(engine, by_entity=bool(labels.keys))
    return rows, dict(Counter(values(troubled, "problem")))


def _look_at_ids(engine: Engine, evaluation: Evaluation) -> Iterator[Finding]:
    """See whether the newest labels name predictions that are logged; without labels or log nothing is said."""
    usable = "SELECT prediction_id FROM raw_labels WHERE trouble IS NULL ORDER BY received_us DESC"
    newest = f"SELECT DISTINCT prediction_id FROM ({usable} LIMIT {MOST_IDS}) AS newest"
    ids = values(engine.sql(newest), "prediction_id")
    paths = _log_files(evaluation, ids)
    if not ids or not paths:
        return
    engine.materialise("logged_ids", f"SELECT prediction_id FROM {engine.scan(paths, form='parquet')}")
    query = f"SELECT count(DISTINCT prediction_id) AS found FROM logged_ids WHERE prediction_id IN ({newest})"
    [found] = values(engine.sql(query), "found")
    if found:
        yield Finding("ids", "ok", f"{found:,} of the newest {len(ids):,} labelled ids are logged")
        return
    [example] = values(engine.sql("SELECT min(prediction_id) AS example FROM logged_ids"), "example")
    told = f"none of the newest {len(ids):,} labelled ids is logged: labels say {min(ids)!r}, the log {example!r}"
    fix = f"labels.id is {evaluation.labels.id!r}: name the column with the id that record() returned."
    yield Finding("ids", "warn", told, fix)


def _log_files(evaluation: Evaluation, ids: Sequence[str]) -> list[str]:
    """The files of the log in which predictions of these ids would be; ids that tell no date may be in the newest."""
    try:
        found = sorted(segments(evaluation.predictions, evaluation.model).values(), key=lambda segment: segment.date)
    except LogError:  # which the finding about the log tells
        return []
    instants = [instant for instant in map(instant_ms, ids) if instant is not None]
    dates = {from_us(instant * 1000).date().isoformat() for instant in instants}
    chosen = [segment for segment in found if segment.date in dates] or found
    return sorted({segment.path for segment in chosen[-MOST_LOG_FILES:]})
