"""An evaluation whose runs can be held up where they stand, and what came of those that ended."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from otel_ml_metrics.configuration import Evaluation
from otel_ml_metrics.evaluator import Evaluator
from otel_ml_metrics.telemetry.receiver import ACCEPT, Receiver, Reply
from tests.flows import held
from tests.flows.material import SETTLED
from tests.patience import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from otel_ml_metrics.evaluation_report import Value
    from otel_ml_metrics.telemetry.received import ReceivedPoint
    from otel_ml_metrics.telemetry.receiver import Exchange
    from tests.flows.material import Material

BEFORE_COMMIT: Final = "before the commit"
AFTER_COMMIT: Final = "after the commit"
PATIENCE: Final = 180.0
LABELS: Final = 'path: "{folder}/labels/*.parquet"'


@dataclass
class Stage:
    """A material that is evaluated again and again, each time into a ledger of its own.

    Args:
        material: Predictions, labels, and the monitoring.yaml that is served.
    """

    material: Material
    receiver: Receiver = field(init=False)
    _silent: bool = False
    _heard: int = 0
    _ledgers: int = 0

    def __post_init__(self) -> None:
        """Give the labels by a function that can be held up, and let the receiver keep its senders waiting."""
        path = LABELS.format(folder=self.material.folder)
        self.material.declare(path, f'function: "{held.__name__}:{held.labels.__name__}"')
        self.receiver = Receiver(reply=lambda _: Reply(hang=True) if self._silent else ACCEPT)

    @property
    def environ(self) -> dict[str, str]:
        """Settings of whoever evaluates."""
        return {**self.receiver.environment, held.FOLDER: str(self.material.folder)}

    def anew(self) -> Path:
        """The same monitoring.yaml with a ledger that nobody has made yet; what was received before is forgotten."""
        self._ledgers += 1
        self._heard = len(self.receiver.exchanges)
        self._asked.unlink(missing_ok=True)
        path = self.material.folder / f"monitoring-{self._ledgers}.yaml"
        known = self.material.monitoring.read_text(encoding="utf-8")
        path.write_text(known.replace("ledger.db", f"ledger-{self._ledgers}.db"), encoding="utf-8")
        return path

    def hold(self, place: str) -> None:
        """Let the runs to come stand still at a place."""
        if place == BEFORE_COMMIT:
            self._gate.touch()
        else:
            self._silent = True

    def await_held(self) -> None:
        """Wait until a run has come there."""
        arrived = self._has_hung if self._silent else self._asked.exists
        eventually(arrived, within=PATIENCE)

    def kill(self) -> None:
        """Kill the process that asked for labels last, so that it cannot say goodbye."""
        os.kill(int(self._asked.read_text(encoding="utf-8")), signal.SIGKILL)

    def let_go(self) -> None:
        """Hold nobody up any more."""
        self._silent = False
        self._gate.unlink(missing_ok=True)

    def outcome(self, monitoring: Path) -> tuple[tuple[Value, ...], dict[Any, Any]]:
        """What is final in a ledger, and the newest point of each lagging series that was received of it."""
        with Evaluator(Evaluation.from_file(monitoring), environ={}) as evaluator:
            values = evaluator.as_of(SETTLED).values
        points = [point for each in self._exchanges if each.reply.accepts for point in each.points]
        series = {_series(point): (point.value, point.counts) for point in points}
        return values, {key: said for key, said in series.items() if not key[0].startswith("ml.flow.")}

    def undisturbed(self) -> tuple[tuple[Value, ...], dict[Any, Any]]:
        """The same of an evaluation that nothing happens to."""
        monitoring = self.anew()
        with Evaluator(Evaluation.from_file(monitoring)) as evaluator:
            evaluator.run(as_of=SETTLED)
        return self.outcome(monitoring)

    @property
    def _gate(self) -> Path:
        return self.material.folder / held.GATE

    @property
    def _asked(self) -> Path:
        return self.material.folder / held.ASKED

    def _has_hung(self) -> bool:
        return any(each.reply.hang for each in self._exchanges)

    @property
    def _exchanges(self) -> tuple[Exchange, ...]:
        return self.receiver.exchanges[self._heard :]


def _series(point: ReceivedPoint) -> tuple[Any, ...]:
    return (point.metric, *sorted(point.attributes.items()))
