"""What could keep an evaluation from working, looked at one by one: fields, labels, ledger and the OTLP endpoint.

Nothing is evaluated, committed or sent, but for an empty request to the endpoint, which OTLP receivers accept.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import make_url

from otel_ml_metrics.attribution.tables import values
from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.declared_labels import LabelFiles, LabelFunction, LabelTable
from otel_ml_metrics.definition import check_definition
from otel_ml_metrics.engines.duckdb import DuckDBEngine
from otel_ml_metrics.engines.label_statements import read_labels, troubled_labels
from otel_ml_metrics.engines.row_statements import RowColumns, check_fields
from otel_ml_metrics.errors import ConfigurationError, OtelMLMetricsError
from otel_ml_metrics.importing.taking import glance
from otel_ml_metrics.instants import from_us, iso, to_us
from otel_ml_metrics.labels.opening import Glancing, source_of
from otel_ml_metrics.ledger.outbox import Outbox
from otel_ml_metrics.ledger.schema import SCHEMA_VERSION
from otel_ml_metrics.ledger.store import Ledger, schema_of, shown_url
from otel_ml_metrics.prediction_log.reader import segments
from otel_ml_metrics.telemetry.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from otel_ml_metrics.attribution.inputs import LabelPart
    from otel_ml_metrics.declared_labels import Labels
    from otel_ml_metrics.declared_predictions import ForeignLog
    from otel_ml_metrics.engines.port import Engine

MOST_LABEL_FILES: Final = 50
"""Label files that are read, the newest by name; all of them may be very many."""

Verdict = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        subject: Which.
        verdict: `ok`; `note`: works, but somebody may want to know; `wrong`: has to be mended.
        told: What was found, and where it is wrong, what was expected.
        fix: What to do about it; empty where there is nothing to do, or `told` says it.
    """

    subject: str
    verdict: Verdict
    told: str
    fix: str = ""


def check(monitoring: str | os.PathLike[str], *, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at everything that a run of the evaluation needs, and say what is wrong with it.

    Args:
        monitoring: Path of monitoring.yaml.
        environ: `OTEL_EXPORTER_OTLP_*` settings.

    Yields:
        A finding or more for each part; a settings file that cannot be used is the only one.
    """
    try:
        evaluation = Evaluation.from_file(monitoring)
    except ConfigurationError as error:
        yield Finding("settings", "wrong", str(error))
        return
    measures = ", ".join(measure.name for measure in evaluation.all_measures)
    yield Finding("settings", "ok", f"{evaluation.name}: {measures}")
    looks: dict[str, Callable[[], Iterable[Finding]]] = {
        "prediction log": lambda: _look_at_log(evaluation),
        "labels": lambda: _look_at_labels(evaluation),
        "ledger": lambda: _look_at_ledger(evaluation),
        "endpoint": lambda: _look_at_endpoint(evaluation, environ),
    }
    for subject, look in looks.items():
        try:
            yield from look()
        except OtelMLMetricsError as error:
            yield Finding(subject, "wrong", str(error))


def _look_at_log(evaluation: Evaluation) -> Iterator[Finding]:
    if evaluation.foreign is not None:
        yield _look_at_foreign_log(evaluation, evaluation.foreign)
        return
    found = segments(evaluation.predictions, evaluation.model)
    if not found:
        told = f"nothing is logged yet for the model {evaluation.model!r} in {evaluation.predictions}"
        fix = "Record a prediction with ModelMonitor(..., log=that folder), or mend predictions: in the settings."
        yield Finding("prediction log", "wrong", told, fix)
        return
    columns = RowColumns.of(evaluation)
    with closing(DuckDBEngine()) as engine:
        check_fields(engine, sorted({segment.path for segment in found.values()}), columns)
    dates = sorted(segment.date for segment in found.values())
    fields = ", ".join((*columns.slices, *columns.kinds))
    told = f"{len(found):,} segments from {dates[0]} to {dates[-1]}; every field is there: {fields}"
    yield Finding("prediction log", "ok", told)


def _look_at_foreign_log(evaluation: Evaluation, foreign: ForeignLog) -> Finding:
    """See whether a foreign log can be taken over; looking takes nothing over."""
    with closing(DuckDBEngine()) as engine:
        found = glance(evaluation, foreign, engine)
    if not found.rows and not found.left_out:
        return Finding("prediction log", "note", f"nothing is there yet: {found.shown}", "Is that the one?")
    told = f"{found.shown} can be read; {found.rows:,} rows looked at, with {', '.join(found.fields)}"
    if found.left_out:
        bad = ", ".join(f"{rows:,} with {trouble}" for trouble, rows in found.left_out.items())
        return Finding("prediction log", "note", f"{told}; not usable: {bad}", "A run leaves them out and goes on.")
    return Finding("prediction log", "ok", told)


def _look_at_labels(evaluation: Evaluation) -> Iterator[Finding]:
    now_us = to_us(datetime.now(UTC))
    source = source_of(evaluation)
    survey = source.glance(now_us=now_us) if isinstance(source, Glancing) else source.survey({}, as_of_us=now_us)
    if not survey.parts:
        yield Finding("labels", "note", *_nothing_yet(evaluation.labels))
        return
    newest = survey.parts[-MOST_LABEL_FILES:]
    with closing(DuckDBEngine()) as engine:
        rows, problems = _usable(engine, newest, evaluation, until_us=now_us)
    if isinstance(evaluation.labels, LabelFiles):
        told = f"{len(survey.parts):,} files, {rows:,} rows in the newest {len(newest):,}"
    else:
        told = f"{newest[0].shown} can be read; {rows:,} rows looked at"
    if problems:
        bad = ", ".join(f"{count:,} with {problem}" for problem, count in problems.items())
        yield Finding("labels", "note", f"{told}, of which not usable: {bad}", "A run keeps them aside and goes on.")
    else:
        yield Finding("labels", "ok", f"{told}, all usable")


def _nothing_yet(labels: Labels) -> tuple[str, str]:
    """What to say of a source that has nothing, and what to do about it."""
    if isinstance(labels, LabelFiles):
        return f"no file is there yet: {labels.path}", "Labels come late; is that the path?"
    if isinstance(labels, LabelFunction):
        return f"{labels.shown} gave nothing for the last day", "Labels come late; is that so?"
    if isinstance(labels, LabelTable):
        return f"{labels.shown} of {labels.shown_url} has no row yet", "Labels come late; is that the one?"
    return "the source has nothing yet", "Labels come late; is that so?"


def _usable(
    engine: Engine, parts: Sequence[LabelPart], evaluation: Evaluation, *, until_us: int
) -> tuple[int, dict[str, int]]:
    """How many label rows there are, and how many have which problem."""
    labels = evaluation.labels
    read_labels(engine, parts, labels, kind=evaluation.label_kind, classes=evaluation.classes, until_us=until_us)
    [rows] = values(engine.sql("SELECT count(*) AS rows FROM raw_labels"), "rows")
    troubled = troubled_labels(engine, by_entity=bool(labels.keys))
    return rows, dict(Counter(values(troubled, "problem")))


def _look_at_ledger(evaluation: Evaluation) -> Iterator[Finding]:
    url = make_url(evaluation.ledger)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        yield _look_at_folder(Path(url.database).absolute())
        return
    found = schema_of(evaluation.ledger)
    if found is None:
        yield Finding("ledger", "ok", f"the first run makes it: {shown_url(evaluation.ledger)}")
        return
    if found < SCHEMA_VERSION:
        told = f"has schema {found}; the next run takes it to schema {SCHEMA_VERSION}, and there is no way back"
        yield Finding("ledger", "note", told, "Copy it before, if an older version of otel-ml-metrics still needs it.")
        return
    with closing(Ledger.of(evaluation)) as ledger:
        head = ledger.head()
        if head.definition is not None:
            check_definition(evaluation, head.definition)
        outbox = Outbox(ledger)
        waiting, rejected = outbox.count(), outbox.count("rejected") + outbox.count("partial")
    stands = "is empty" if head.as_of_us is None else f"stands at {iso(from_us(head.as_of_us))}"
    yield Finding("ledger", "ok", f"{stands}, version {head.version:,}; {waiting:,} points wait in the outbox")
    if rejected:
        told = f"{rejected:,} points were refused for good by the endpoint, or came with others that were"
        yield Finding(
            "ledger",
            "note",
            told,
            "`otel-ml-metrics ledger check` says why, and `ledger repair --resend` sends them again.",
        )


def _look_at_folder(ledger: Path) -> Finding:
    """See if a SQLite ledger can be made; looking must not make it."""
    folder = next(parent for parent in ledger.parents if parent.exists())
    if folder.is_dir() and os.access(folder, os.W_OK):
        return Finding("ledger", "ok", f"the first run makes it: {ledger}")
    return Finding("ledger", "wrong", f"{folder} cannot be written to", "Give it to the user that evaluates.")


def _look_at_endpoint(evaluation: Evaluation, environ: Mapping[str, str]) -> Iterator[Finding]:
    delivery = Delivery.from_environment(environ, service=evaluation.service, evaluation=evaluation.name)
    if delivery is None:
        fix = "Set OTEL_EXPORTER_OTLP_ENDPOINT, for a Collector on this machine http://localhost:4318."
        yield Finding("endpoint", "wrong", "none is set, so points would wait in the ledger", fix)
        return
    with delivery:
        answer = delivery.probe()
        endpoint = delivery.endpoint
    where = f"{endpoint.shown} by {endpoint.protocol}"
    if answer.verdict == "accepted":
        yield Finding("endpoint", "ok", f"{where} answers")
    elif answer.verdict == "busy":
        fix = f"Start the receiver, or mend {endpoint.variable}: 4317 is mostly for grpc, 4318 for http/protobuf."
        yield Finding("endpoint", "wrong", f"{where} does not answer: {answer.message}", fix)
    else:
        fix = f"Mend {endpoint.variable}, OTEL_EXPORTER_OTLP_PROTOCOL or OTEL_EXPORTER_OTLP_HEADERS."
        yield Finding("endpoint", "wrong", f"{where} refuses an empty request: {answer.message}", fix)
