"""The ledger: can it be reached, what is its schema, and is it of this evaluation?"""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url

from otel_ml_metrics.checks.findings import Finding
from otel_ml_metrics.definition import check_definition
from otel_ml_metrics.instants import from_us, iso
from otel_ml_metrics.ledger.outbox import Outbox
from otel_ml_metrics.ledger.schema import SCHEMA_VERSION
from otel_ml_metrics.ledger.store import Ledger, schema_of, shown_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_ml_metrics.configuration import Evaluation


def look_at_ledger(evaluation: Evaluation) -> Iterator[Finding]:
    """See whether the ledger can be reached, and whether it is of this evaluation as it is now; looking makes none."""
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
        yield Finding("ledger", "warn", told, "Copy it before, if an older version of otel-ml-metrics still needs it.")
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
            "warn",
            told,
            "`otel-ml-metrics ledger check` says why, and `ledger repair --resend` sends them again.",
        )


def _look_at_folder(ledger: Path) -> Finding:
    """See if a SQLite ledger can be made; looking must not make it."""
    folder = next(parent for parent in ledger.parents if parent.exists())
    if folder.is_dir() and os.access(folder, os.W_OK):
        return Finding("ledger", "ok", f"the first run makes it: {ledger}")
    return Finding("ledger", "fail", f"{folder} cannot be written to", "Give it to the user that evaluates.")
