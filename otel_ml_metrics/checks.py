"""What could keep an evaluation from working, looked at one by one: fields, labels, ledger and the OTLP endpoint.

Nothing is evaluated, committed or sent, but for an empty request to the endpoint, which OTLP receivers accept.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from sqlalchemy import make_url

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.definition import check_definition
from otel_ml_metrics.engines.duckdb import DuckDBEngine
from otel_ml_metrics.engines.label_statements import Stretch, read_labels
from otel_ml_metrics.engines.row_statements import RowColumns, check_fields
from otel_ml_metrics.errors import ConfigurationError, OtelMLMetricsError
from otel_ml_metrics.instants import from_us, iso
from otel_ml_metrics.labels.files import label_files
from otel_ml_metrics.ledger.outbox import Outbox
from otel_ml_metrics.ledger.store import Ledger
from otel_ml_metrics.prediction_log.reader import segments
from otel_ml_metrics.telemetry.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

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
    measures = ", ".join(measure.name for measure in evaluation.measures)
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
    found = segments(evaluation.predictions, evaluation.model)
    if not found:
        told = f"nothing is logged yet for the model {evaluation.model!r} in {evaluation.predictions}"
        fix = "Record a prediction with ModelMonitor(..., log=that folder), or mend predictions: in the settings."
        yield Finding("prediction log", "wrong", told, fix)
        return
    columns = RowColumns.of(evaluation)
    with closing(DuckDBEngine()) as engine:
        check_fields(engine, [segment.path for segment in found.values()], columns)
    dates = sorted(segment.date for segment in found.values())
    fields = ", ".join((*columns.slices, *columns.kinds))
    told = f"{len(found):,} segments from {dates[0]} to {dates[-1]}; every field is there: {fields}"
    yield Finding("prediction log", "ok", told)


def _look_at_labels(evaluation: Evaluation) -> Iterator[Finding]:
    source = evaluation.labels
    found = label_files(source)
    if not found:
        yield Finding("labels", "note", f"no file is there yet: {source.path}", "Labels come late; is that the path?")
        return
    newest = [found[name] for name in sorted(found)[-MOST_LABEL_FILES:]]
    forms = sorted({file.form for file in newest})
    stretches = [Stretch(tuple(file.path for file in newest if file.form == form), form, None) for form in forms]
    with closing(DuckDBEngine()) as engine:
        read_labels(engine, stretches, source, kind=evaluation.kinds["label"], classes=evaluation.classes)
        rows, problems = _usable(engine)
    told = f"{len(found):,} files, {rows:,} rows in the newest {len(newest):,}"
    if problems:
        bad = ", ".join(f"{count:,} with {problem}" for problem, count in problems.items())
        yield Finding("labels", "note", f"{told}, of which not usable: {bad}", "A run keeps them aside and goes on.")
    else:
        yield Finding("labels", "ok", f"{told}, all usable")


def _usable(engine: Engine) -> tuple[int, dict[str, int]]:
    """How many label rows there are, and how many have which problem."""
    counted = engine.sql(
        "SELECT problem, count(*) AS rows FROM raw_labels GROUP BY problem ORDER BY problem"
    ).to_pylist()
    problems = {row["problem"]: row["rows"] for row in counted if row["problem"] is not None}
    return sum(row["rows"] for row in counted), problems


def _look_at_ledger(evaluation: Evaluation) -> Iterator[Finding]:
    url = make_url(evaluation.ledger)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        yield _look_at_folder(Path(url.database).absolute())
        return
    with closing(Ledger(evaluation.ledger, name=evaluation.name, label_kind=evaluation.kinds["label"])) as ledger:
        head = ledger.head()
        if head.definition is not None:
            check_definition(evaluation, head.definition)
        outbox = Outbox(ledger)
        waiting, rejected = outbox.count(), outbox.count("rejected") + outbox.count("partial")
    stands = "is empty" if head.as_of_us is None else f"stands at {iso(from_us(head.as_of_us))}"
    yield Finding("ledger", "ok", f"{stands}, version {head.version:,}; {waiting:,} points wait in the outbox")
    if rejected:
        told = f"{rejected:,} points were refused for good by the endpoint, or came with others that were"
        yield Finding("ledger", "note", told, "The column message of the table outbox has the endpoint's words.")


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
        fix = f"Start the receiver, or mend {endpoint.variable}."
        yield Finding("endpoint", "wrong", f"{where} does not answer: {answer.message}", fix)
    else:
        fix = f"Mend {endpoint.variable}, OTEL_EXPORTER_OTLP_PROTOCOL or OTEL_EXPORTER_OTLP_HEADERS."
        yield Finding("endpoint", "wrong", f"{where} refuses an empty request: {answer.message}", fix)
