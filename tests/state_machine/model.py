"""What a ledger should know, kept as plain lists: which rows and labels were taken, and how far the files were read.

It imports nothing of the package: it says once more what a run reads, and `tests.evaluation.oracle` what follows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tests.evaluation import oracle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.evaluation.oracle import Expected, Key, Said, Settings
    from tests.evaluation.oracle_measures import Row


class Line(NamedTuple):
    """One row of a label file: a usable label, or None; and when it was received, where it says so."""

    said: Said | None
    received_us: int | None


@dataclass
class LabelFile:
    """A label file.

    Args:
        lines: What is in it now; None once it is gone.
        read: What was in it when it was read; None before.
        until_us: Labels received later were not taken yet.
    """

    lines: tuple[Line, ...] | None
    read: tuple[Line, ...] | None = None
    until_us: int = 0

    @property
    def has_changed(self) -> bool:
        """Whether it is there, was read, and says something else now."""
        return self.lines is not None and self.read is not None and self.lines != self.read

    def takes(self, line: Line, as_of_us: int) -> bool:
        """Whether a row is new to a run; one whose instant nobody knows is looked at once, with its file."""
        if line.received_us is None:
            return self.read is None
        return line.received_us <= as_of_us and (self.read is None or line.received_us > self.until_us)


@dataclass
class Model:
    """What a ledger should know.

    Args:
        settings: What its sums are of.
        head_us: The instant up to which it took labels; None before the first run.
        rows: The predictions that it took.
        labels: The usable labels that it took.
        files: The label files.
        invalid: How many rows of them it could not use.
        forgets_late: Whether labels that were late may be counted that no file has any more.
    """

    settings: Settings
    head_us: int | None = None
    rows: list[Row] = field(default_factory=list)
    labels: list[Said] = field(default_factory=list)
    files: dict[str, LabelFile] = field(default_factory=dict)
    invalid: int = 0
    forgets_late: bool = False

    def advance(self, logged: Iterable[Row], as_of_us: int) -> None:
        """Take everything that is new up to an instant: a file that changed after it was read is left alone."""
        self.rows = list(logged)
        self.head_us = as_of_us
        for file in self.files.values():
            if file.lines is None or file.has_changed:
                continue
            for line in file.lines:
                if file.takes(line, as_of_us):
                    if line.said is None:
                        self.invalid += 1
                    else:
                        self.labels.append(line.said)
            file.read, file.until_us = file.lines, as_of_us

    def backfill(self) -> None:
        """Believe all files as they are now, over all time; where one is gone, nothing that was believed goes."""
        assert self.head_us is not None
        known = [file for file in self.files.values() if file.read is not None]
        said: Counter[Said] = Counter()
        for file in known:
            self.forgets_late |= file.has_changed
            if file.lines is not None:
                said.update(line.said for line in file.lines if line.said and line.said.received_us <= self.head_us)
                file.read, file.until_us = file.lines, self.head_us
        is_one_gone = any(file.lines is None for file in known)
        self.labels = [*((Counter(self.labels) | said) if is_one_gone else said).elements()]

    def values(self, as_of_us: int, *, stage: str = "final") -> dict[Key, Expected]:
        """Every value that may be given as of an instant."""
        found = oracle.values(self.rows, self.labels, self.settings, as_of_us)
        return {key: value for key, value in found.items() if key.stage == stage}

    def statuses(self) -> dict[str, int]:
        """Labels by status, and those that wait."""
        assert self.head_us is not None
        counts = oracle.statuses(self.rows, self.labels, self.settings, self.head_us) | {"invalid": self.invalid}
        if self.forgets_late:
            del counts["late"]
        return counts
