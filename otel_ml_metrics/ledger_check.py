"""What came of checking or repairing a ledger."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from otel_ml_metrics.evaluation_report import Delivered
from otel_ml_metrics.instants import from_us, iso

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from otel_ml_metrics.evaluation_report import Value
    from otel_ml_metrics.ledger.outbox import Refusal

Verdict = Literal["equal", "differs", "unreadable"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One sum that is not what log and labels add up to.

    Args:
        tile_start: Start of the tile (the window, or a part of it) by prediction time.
        output: Of the model; empty where it has one.
        version: Of the model.
        variant: Of the model.
        slice: Field to value; empty for all rows.
        bucket: Maturity in seconds from which on it counts; 0 for sums over predictions.
        sum: Name of the sum; what follows `@` is k, and the sum is a multiple of 2^-k.
        bin: Of the score; -1 for sums without bins.
        stored: What the ledger has.
        computed: What it should have.
    """

    tile_start: datetime
    output: str
    version: str
    variant: str
    slice: Mapping[str, str]
    bucket: int
    sum: str
    bin: int
    stored: int
    computed: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Difference:
        """A row of `engines.comparison.differences`."""
        same = {name: row[name] for name in ("output", "version", "variant", "bucket", "sum", "bin")}
        return cls(
            tile_start=from_us(row["tile_us"]),
            slice=json.loads(row["slice"]),
            stored=int(row["stored"]),
            computed=int(row["computed"]),
            **same,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain types; the instant is ISO 8601 in UTC."""
        return asdict(self) | {"tile_start": iso(self.tile_start)}


@dataclass(frozen=True, kw_only=True)
class Unread:
    """Windows that could not be computed again.

    Args:
        since: Start of the first, by prediction time.
        until: End of the last, not included.
        told: Why.
    """

    since: datetime
    until: datetime
    told: str

    def to_dict(self) -> dict[str, Any]:
        """Plain types; instants are ISO 8601 in UTC."""
        return {"since": iso(self.since), "until": iso(self.until), "told": self.told}


@dataclass(frozen=True, kw_only=True)
class LedgerCheck:
    """What a check found.

    Args:
        evaluation: Its name.
        ledger: URL without password.
        version: Commits that the ledger has seen.
        as_of: The instant up to which labels were taken; None for a ledger without commits.
        windows: Windows that were computed again.
        differing_windows: Start of those whose sums differ, or cannot be decoded.
        differing_sums: How many sums differ.
        differences: The first of them.
        unread: What could not be computed again.
        problems: What is damaged, or contradicts itself.
        unchecked: Exact measures, whose values no sum tells: they are not computed again.
        outbox: Points by status.
        refusals: Points that the receiver refused for good, by what it said.
    """

    evaluation: str
    ledger: str
    version: int
    as_of: datetime | None
    windows: int = 0
    differing_windows: tuple[datetime, ...] = ()
    differing_sums: int = 0
    differences: tuple[Difference, ...] = ()
    unread: tuple[Unread, ...] = ()
    problems: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    outbox: Mapping[str, int] = field(default_factory=dict)
    refusals: tuple[Refusal, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """`differs` where sums differ, else `unreadable` where anything could not be read or contradicts itself."""
        if self.differing_sums:
            return "differs"
        return "unreadable" if self.unread or self.problems or self.differing_windows else "equal"

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON; instants are ISO 8601 in UTC."""
        return {
            "evaluation": self.evaluation,
            "ledger": self.ledger,
            "verdict": self.verdict,
            "version": self.version,
            "as_of": None if self.as_of is None else iso(self.as_of),
            "windows": self.windows,
            "differing_windows": [iso(each) for each in self.differing_windows],
            "differing_sums": self.differing_sums,
            "differences": [each.to_dict() for each in self.differences],
            "unread": [each.to_dict() for each in self.unread],
            "problems": list(self.problems),
            "unchecked": list(self.unchecked),
            "outbox": dict(self.outbox),
            "refusals": [asdict(each) for each in self.refusals],
        }


@dataclass(frozen=True, kw_only=True)
class LedgerRepair:
    """What a repair did.

    Args:
        check: What was found before.
        dry_run: Whether nothing was done.
        version: Of the ledger afterwards.
        replaced_windows: Start of the windows whose sums were replaced.
        values: What became final or changed by that.
        requeued: Refused points that wait again.
        delivery: What became of the points.
    """

    check: LedgerCheck
    dry_run: bool
    version: int
    replaced_windows: tuple[datetime, ...] = ()
    values: tuple[Value, ...] = ()
    requeued: int = 0
    delivery: Delivered = field(default_factory=Delivered)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON; instants are ISO 8601 in UTC."""
        return {
            "check": self.check.to_dict(),
            "dry_run": self.dry_run,
            "version": self.version,
            "replaced_windows": [iso(each) for each in self.replaced_windows],
            "values": [value.to_dict() for value in self.values],
            "requeued": self.requeued,
            "delivery": asdict(self.delivery),
        }
