"""What monitoring.yaml may say about predictions: a log of ours, or what something else writes and how to read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.declared import check_names, path, refuse, text
from otel_ml_metrics.declared_sources import Queried, check_queried, share, zone

if TYPE_CHECKING:
    import os

MAPPED: Final = ("score", "prediction", "version", "variant", "output")
"""Columns of our own log that a foreign one may have under another name."""

_OWN: Final = frozenset({"path", "sample"})
_EXAMPLE: Final = "a folder, or a mapping such as {path: scores/*.parquet, id: order_id, predicted_at: scored_at}"


@dataclass(frozen=True, kw_only=True)
class ForeignLog:
    """Predictions that something else writes. They are taken over into a log of ours, each row once.

    Args:
        id: Column of the prediction's id, which its label names.
        predicted_at: Column of the instant of the prediction.
        score: Column of the score; this and the next four default to the column of the same name, if there is one.
        prediction: Column of the decision, or of the number that was predicted.
        version: Column of the model's version.
        variant: Column of the arm that served.
        output: Column of the name of the model's output.
        zone: IANA zone of instants that name none, such as `UTC`; without it they are refused.
        sample: Share of the predictions to keep, above 0 and at most 1. It is the same share in every run, by the MD5
            digest of the id (of the entity's name, where labels name entities), and labels are kept alike. Measures
            that are sums are scaled up by 1 / sample; support, coverage and counts of labels are of the rows kept.
        into: Folder of the log of ours; default: `<evaluation>-predictions` beside the ledger's file.
    """

    id: str
    predicted_at: str
    score: str | None = None
    prediction: str | None = None
    version: str | None = None
    variant: str | None = None
    output: str | None = None
    zone: str | None = None
    sample: float = 1.0
    into: str | os.PathLike[str] | None = None

    @property
    def mapped(self) -> dict[str, str]:
        """Column of each of our own columns that was named."""
        named = {name: getattr(self, name) for name in MAPPED}
        return {name: column for name, column in named.items() if column is not None}


@dataclass(frozen=True, kw_only=True)
class ForeignFiles(ForeignLog):
    """Predictions in a folder of Parquet files that grows by new files.

    Args:
        path: A file, a folder or a pattern.
    """

    path: str


@dataclass(frozen=True, kw_only=True)
class ForeignTable(ForeignLog, Queried):
    """Predictions in a table or query of a database that grows by new rows.

    Rows are read once, in the order of their instant. One that is committed later than rows with a later instant is
    found when it lies within the attribution window; a row without an instant is not read.
    """


@dataclass(frozen=True)
class Predictions:
    """Where predictions are.

    Args:
        folder: Of a log of ours; None for a foreign one, whose place depends on other settings.
        sample: Share of the predictions that is evaluated.
        foreign: What something else writes; None for a log of ours.
    """

    folder: str | None
    sample: float = 1.0
    foreign: ForeignLog | None = field(default=None)


def predictions(found: object) -> Predictions:
    """Where predictions are."""
    if isinstance(found, ForeignLog):
        return _checked(found)
    if not isinstance(found, Mapping):
        return Predictions(path("predictions", found))
    if "path" in found and set(found) <= _OWN:
        return Predictions(path("predictions.path", found["path"]), _sample(found))
    kind: type[ForeignFiles | ForeignTable] = ForeignTable if "url" in found else ForeignFiles
    check_names("predictions", found, {each.name for each in fields(kind)})
    given = {name: value for name, value in found.items() if value is not None}
    required = [name for name in ("path" if kind is ForeignFiles else "url", "id", "predicted_at") if name not in given]
    if required:
        refuse("predictions", sorted(found), f"{required[0]}: as well; {_EXAMPLE}")
    return _checked(kind(**given))


def _checked(found: ForeignLog) -> Predictions:
    texts: dict[str, Any] = {"id": found.id, "predicted_at": found.predicted_at, **found.mapped}
    for name, value in texts.items():
        text(f"predictions.{name}", value)
    zone("predictions.zone", found.zone)
    if isinstance(found, ForeignTable):
        check_queried("predictions", found)
    elif isinstance(found, ForeignFiles):
        path("predictions.path", found.path)
    else:
        refuse("predictions", type(found).__name__, "ForeignFiles or ForeignTable")
    folder = None if found.into is None else path("predictions.into", found.into)
    return Predictions(folder, share("predictions.sample", found.sample), found)


def _sample(found: Mapping[str, Any]) -> float:
    return share("predictions.sample", found["sample"]) if found.get("sample") is not None else 1.0
