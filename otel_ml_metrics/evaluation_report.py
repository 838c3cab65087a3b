"""What one run says: values with their support, coverage and maturity, and what became of the labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from otel_ml_metrics.instants import iso

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from otel_ml_metrics.alerting import Breach


@dataclass(frozen=True, kw_only=True)
class Value:
    """One measure of one window at one maturity, over all rows or one slice.

    Args:
        measure: Name of the measure.
        value: In the unit; never NaN, since an undefined value is not there at all.
        lower: Lower end of the 95 % interval; None where theory gives none.
        upper: Upper end of it.
        certificate: Bound of the error that binning makes; None where nothing is binned.
        unit: UCUM.
        support: Rows behind the value.
        coverage: Labelled share of the mature predictions, by explicit labels; None where none is mature.
        window_start: Start of the window by prediction time.
        window_end: Its end, not included.
        maturity: Age at which the predictions were judged, as declared.
        stage: `final`, or `provisional` while the window is not complete at this maturity.
        model: Name of the model.
        version: None where versions are merged or not known.
        variant: None where variants are merged or not known.
        output: Name of the model's output; None where it has one only.
        slice: Field to value; empty for all rows.
        retired: Whether it is the last value of an exact measure whose rows were retired: nothing changes it any more.
    """

    measure: str
    value: float
    lower: float | None
    upper: float | None
    certificate: float | None
    unit: str
    support: int
    coverage: float | None
    window_start: datetime
    window_end: datetime
    maturity: str
    stage: str
    model: str
    version: str | None
    variant: str | None
    slice: Mapping[str, str]
    output: str | None = None
    retired: bool = False

    @property
    def place(self) -> tuple[Any, ...]:
        """What it is the value of, and the same for no other."""
        arm = (self.version, self.variant, self.output, tuple(sorted(self.slice.items())))
        return self.measure, self.window_start, self.maturity, self.stage, *arm

    def to_dict(self) -> dict[str, Any]:
        """Plain types; instants are ISO 8601 in UTC."""
        plain = asdict(self)
        return plain | {"window_start": iso(self.window_start), "window_end": iso(self.window_end)}


@dataclass(frozen=True, kw_only=True)
class ReliabilityTable:
    """How often what was predicted came true: a line per group of rows with similar scores, about as many in each.

    Args:
        window_start: Start of the window by prediction time.
        window_end: Its end, not included.
        maturity: Age at which the predictions were judged, as declared.
        version: None where versions are merged or not known.
        variant: None where variants are merged or not known.
        output: Name of the model's output; None where it has one only.
        slice: Field to value; empty for all rows.
        rows: Of each group, ascending by score; at most 15 groups.
        prevalence: Share of positives in each group.
        score: Mean score of each group.
    """

    window_start: datetime
    window_end: datetime
    maturity: str
    version: str | None
    variant: str | None
    output: str | None
    slice: Mapping[str, str]
    rows: tuple[float, ...]
    prevalence: tuple[float, ...]
    score: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain types; instants are ISO 8601 in UTC."""
        return asdict(self) | {"window_start": iso(self.window_start), "window_end": iso(self.window_end)}


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """How many positives and negatives had which score, by the bins of the scores.

    Args:
        window_start: Start of the window by prediction time.
        window_end: Its end, not included.
        maturity: Age at which the predictions were judged, as declared.
        version: None where versions are merged or not known.
        variant: None where variants are merged or not known.
        output: Name of the model's output; None where it has one only.
        slice: Field to value; empty for all rows.
        lowest: Lowest score of each bin, rising; of the first it may be minus infinity.
        positives: Of each bin.
        negatives: Of each bin.
    """

    window_start: datetime
    window_end: datetime
    maturity: str
    version: str | None
    variant: str | None
    output: str | None
    slice: Mapping[str, str]
    lowest: tuple[float, ...]
    positives: tuple[int, ...]
    negatives: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What became of the points in the outbox.

    Args:
        sent: Points that the receiver accepted in this run.
        rejected: Points that it refused for good in this run.
        kept: Points that still wait for it.
        superseded: Points that were dropped unsent, since a newer value of the same series and time was there.
        endpoint: Where points went; None where none is set.
        message: What the receiver said last, if it did not take everything.
    """

    sent: int = 0
    rejected: int = 0
    kept: int = 0
    superseded: int = 0
    endpoint: str | None = None
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one run did.

    Args:
        evaluation: Its name.
        model: Name of the model.
        as_of: The instant that the run pretended was now.
        ledger_version: How many commits the ledger has seen.
        values: What became final or changed in this run, and the provisional values where they are asked for; in a
            read-only query, everything that was final at `as_of`.
        labels: Labels by status, all that the ledger has seen.
        invalid: Those that cannot be used, by reason.
        left_out: Labelled predictions that measures had to leave out, by reason, all that the ledger has seen. A row
            counts for each reason that it has.
        waiting: Labels that wait for their prediction.
        held: Labels that are held back for a later run.
        undefined: Values that could not be given in this run, by reason.
        folded: By the fields of a slice, how many slices are told as one, `(other)`; the most in any window. What the
            ledger does not tell apart counts as one.
        rejected_rows_file: Where this run kept invalid label rows aside; None where there were none.
        delivery: What became of the points.
        breaches: Values beyond a declared threshold: of what became final or changed, and of the newest window.
        warnings: What an operator should know.
        read_only: Whether nothing was written.
    """

    evaluation: str
    model: str
    as_of: datetime
    ledger_version: int
    values: tuple[Value, ...]
    labels: Mapping[str, int]
    invalid: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    held: int = 0
    undefined: Mapping[str, int] = field(default_factory=dict)
    folded: Mapping[str, int] = field(default_factory=dict)
    rejected_rows_file: str | None = None
    delivery: Delivered = field(default_factory=Delivered)
    breaches: tuple[Breach, ...] = ()
    warnings: tuple[str, ...] = ()
    read_only: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON; instants are ISO 8601 in UTC."""
        return {
            "evaluation": self.evaluation,
            "model": self.model,
            "as_of": iso(self.as_of),
            "ledger_version": self.ledger_version,
            "values": [value.to_dict() for value in self.values],
            "labels": dict(self.labels),
            "invalid": dict(self.invalid),
            "left_out": dict(self.left_out),
            "waiting": self.waiting,
            "held": self.held,
            "undefined": dict(self.undefined),
            "folded": dict(self.folded),
            "rejected_rows_file": self.rejected_rows_file,
            "delivery": asdict(self.delivery),
            "breaches": [breach.to_dict() for breach in self.breaches],
            "warnings": list(self.warnings),
            "read_only": self.read_only,
        }
