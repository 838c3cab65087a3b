"""What the pages under docs/ tell with: a small log, a few labels, and what a run says, in a line or two."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.instants import Duration
from tests.evaluation.material import DAY, START, Fact, Prediction, World, native_id

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from otel_ml_metrics.evaluation_report import Report, Value


class Story:
    """A world in which everything is said relative to one midnight.

    Args:
        folder: Where it is.
        settings: Of the evaluation; windows of a day, labels may take a day, and accuracy is measured.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        self._world = World(folder, task=settings.get("task", "binary"))
        self._settings: dict[str, Any] = {"measures": ["accuracy"], "by": [], "attribution_window": DAY} | settings
        self._names = count()

    def log(self, identity: str = "p-1", *, at: str = "0h", decision: float | bool = True, **fields: Any) -> None:
        """Log a prediction, in a segment of its own."""
        row = Prediction(id=identity, predicted_at=instant(at), prediction=decision, **fields)
        self._world.log([row], name=f"{next(self._names):06}")

    def new_id(self, *, at: str = "0h") -> str:
        """An id as a monitor makes it for a prediction of an instant."""
        return native_id(instant(at), next(self._names))

    def label(self, identity: str = "p-1", *, late: float | bool = True, at: str = "2h", **named: Any) -> None:
        """Write a label, in a file of its own; of a customer, `happened` says when the outcome was."""
        if "happened" in named:
            named["occurred_at"] = instant(named.pop("happened"))
        row = Fact(id=identity, label=late, received_at=instant(at), **named)
        self._world.label([row], name=f"{next(self._names):06}")

    def rewrite(self, number: int, *, late: bool, at: str = "2h") -> None:
        """Write another label into the file that was written so many steps after the first log or label."""
        self._world.label([Fact(label=late, received_at=instant(at))], name=f"{number:06}")

    def backfill(self, since: str, until: str) -> None:
        """Compute the windows of a range again, and tell."""
        with self._evaluator() as evaluator:
            self._tell(evaluator.backfill(instant(since), instant(until)))

    def write(self, text: str) -> None:
        """Write label rows as CSV; only the header is added."""
        folder = self._world.folder / "labels"
        folder.mkdir(exist_ok=True)
        (folder / f"{next(self._names):06}.csv").write_text(f"prediction_id,label,received_at,revision\n{text}\n")

    def run(self, at: str) -> None:
        """Run as of an instant, and tell."""
        with self._evaluator() as evaluator:
            self._tell(evaluator.run(as_of=instant(at)))

    def as_of(self, at: str) -> None:
        """Ask what was final at an instant, and tell."""
        with self._evaluator() as evaluator:
            self._tell(evaluator.as_of(instant(at)))

    def _evaluator(self) -> Evaluator:
        path = str(self._world.folder / "labels")
        labels = {"path": path, "revision": "revision", **self._settings.get("labels", {})}
        return Evaluator(self._world.evaluation(**self._settings | {"labels": labels}), environ={})

    def _tell(self, report: Report) -> None:
        for value in sorted(report.values, key=lambda each: Duration(each.maturity).us):
            print(_told(value))  # noqa: T201  # pages show what is printed
        raised = [f"{n} {reason}" for reason, n in report.undefined.items() if reason.startswith("raised")]
        if raised:
            print("undefined:", ", ".join(raised))  # noqa: T201
        counts = {**report.labels, "waiting": report.waiting, "held": report.held}
        print("labels:", ", ".join(f"{n} {status}" for status, n in counts.items() if n) or "none")  # noqa: T201
        for warning in report.warnings:
            print("warning:", warning.replace(str(self._world.folder), "..."))  # noqa: T201


def instant(at: str) -> datetime:
    """An instant such as `36h` after midnight, or `-2h`."""
    if at == "0h":
        return START
    away = Duration(at.removeprefix("-"))
    return START - away if at.startswith("-") else START + away


def _told(value: Value) -> str:
    return f"{value.measure} {value.value:g} at {value.maturity}, coverage {value.coverage:g}, support {value.support}"
