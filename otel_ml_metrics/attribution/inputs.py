"""What a run reads, and how far it was read: label files, label tables, segments of the prediction log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

LABEL = "label"
SEGMENT = "segment"


class Input(NamedTuple):
    """How far an input was taken; there are thousands of them, and a tuple is made soonest.

    Args:
        kind: `label` or `segment`.
        name: Unique among the inputs of its kind.
        stat: Of labels: what tells at a glance whether they are still what was taken.
        fingerprint: Of labels: the same, thoroughly.
        taken_until_us: Of labels: facts received later are still to be taken.
        last_us: Of labels: when the last one was received.
        date: Of a segment: UTC date of its predictions.
        foreign_ids: Of a segment: whether it has ids that do not tell their date.
    """

    kind: str
    name: str
    stat: str = ""
    fingerprint: str = ""
    taken_until_us: int | None = None
    last_us: int | None = None
    date: str | None = None
    foreign_ids: bool | None = None

    def taken(self, until_us: int, last_us: int | None) -> Input:
        """The same input after it was taken up to an instant."""
        return self._replace(taken_until_us=until_us, last_us=last_us)


@dataclass(frozen=True)
class LabelPart:
    """Labels that are to be read, as they lie: a file, or a table in memory.

    Args:
        input: Progress of what they belong to, noted once they are taken.
        shown: Path or name, as messages name it.
        form: `parquet`, `csv`, or `table`.
        after_us: Facts received up to here were taken before; None where all are new.
        table: The rows of a `table`, under the columns of the source.
        rewritten_us: Where rows are read again: between which instants those lie of which the input knows that they are
            others than those that were taken. Its state is taken over if all of them are; None where the rows say it.
    """

    input: Input
    shown: str
    form: str
    after_us: int | None = None
    table: pa.Table | None = None
    rewritten_us: tuple[int, int] | None = None


@dataclass(frozen=True)
class Survey:
    """What a source has for a run.

    Args:
        parts: What is to be read.
        warnings: What an operator should know, such as labels that changed after they were taken.
        gone_before_us: Where labels are read again: what was received earlier may be gone from the source, so that what
            it said stays; None where the source still has everything.
    """

    parts: Sequence[LabelPart] = ()
    warnings: Sequence[str] = field(default=())
    gone_before_us: int | None = None


class LabelSource(Protocol):
    """Where labels come from. A source says what there is to read; the engine reads it."""

    def survey(self, known: Mapping[str, Input], *, as_of_us: int) -> Survey:
        """What is new since the inputs were taken as far as `known` says, received up to `as_of_us`.

        Raises:
            LabelSourceError: The source cannot be read.
        """

    def again(self, known: Mapping[str, Input], *, since_us: int, until_us: int) -> Survey:
        """Everything received in `[since_us, until_us]`, taken before or not, as the source has it now.

        What it no longer has is told in the warnings and by `gone_before_us`. The inputs of its parts say how the
        source looks now.
        """
