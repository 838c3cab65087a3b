"""How a long backfill is cut up, and how far one has come: a commit and a step of its progress for each stretch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, cast

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterKey
from prefect.runtime import flow_run

from otel_ml_metrics.attribution.calendar import Calendar
from otel_ml_metrics.instants import from_us, to_us

from .telling import at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.evaluation_report import Report


class Stretch(NamedTuple):
    """Whole windows that one commit recomputes.

    Args:
        since: Start of the first.
        until: End of the last, not included.
    """

    since: datetime
    until: datetime


def stretches_of(evaluation: Evaluation, since: datetime, until: datetime, *, windows: int) -> list[Stretch]:
    """Cut a range into stretches of so many windows, the oldest first; an empty one is left to the evaluator's refusal.

    Args:
        evaluation: Says where windows begin.
        since: Start of the range; the window that holds it is the first.
        until: End of the range, not included.
        windows: At most so many at a time.
    """
    if since >= until:
        return [Stretch(since, until)]
    calendar = Calendar.of(evaluation)
    first, last = calendar.window_of(to_us(since)), calendar.window_of(to_us(until) - 1)
    step = windows * calendar.window_us
    bounds = [*range(first, calendar.end_of(last), step), calendar.end_of(last)]
    return [Stretch(from_us(start), from_us(end)) for start, end in pairwise(bounds)]


def together(reports: Sequence[Report]) -> Report:
    """What several stretches did, as one report; points that one kept, a later one may have sent.

    Args:
        reports: At least one, in the order of the commits.
    """
    last = reports[-1]
    sent = sum(report.delivery.sent for report in reports)
    rejected = sum(report.delivery.rejected for report in reports)
    return replace(
        last,
        values=tuple(value for report in reports for value in report.values),
        warnings=tuple(dict.fromkeys(warning for report in reports for warning in report.warnings)),
        delivery=replace(last.delivery, sent=sent, rejected=rejected),
    )


@dataclass
class Progress:
    """How far a backfill has come, as an artifact that a repetition of the same run reads.

    Args:
        stretches: All of them.
        done: How many are committed.
        artifact: Where that is shown; None until it is.
    """

    stretches: Sequence[Stretch]
    done: int = 0
    artifact: UUID | None = None

    @classmethod
    def of_run(cls, key: str, stretches: Sequence[Stretch]) -> Progress:
        """Where this run stands: at the beginning, or where an earlier try of the same run was cut off."""
        share = _share_of_earlier_try(key) if flow_run.run_count > 1 else 0.0
        progress = cls(stretches, done=round(share / 100 * len(stretches)))
        artifact = create_progress_artifact(progress.share, key=key, description=progress.told())
        progress.artifact = cast("UUID", artifact)  # a coroutine in async code only
        return progress

    @property
    def share(self) -> float:
        """Per cent of the stretches that are committed."""
        return 100 * self.done / len(self.stretches)

    @property
    def left(self) -> Sequence[Stretch]:
        """What is still to be done."""
        return self.stretches[self.done :]

    def advance(self) -> None:
        """One more stretch is committed."""
        self.done += 1
        if self.artifact is not None:
            update_progress_artifact(self.artifact, self.share, description=self.told())

    def told(self) -> str:
        """How far it is, and how to go on where it is cut off."""
        whole = f"{at(self.stretches[0].since)} to {at(self.stretches[-1].until)}"
        if not self.left:
            return f"All of {whole} is recomputed."
        return (
            f"{self.done} of {len(self.stretches)} stretches of {whole} are recomputed. Retry this run, or start"
            f" another one with since={at(self.left[0].since)}, to go on from there."
        )


def _share_of_earlier_try(key: str) -> float:
    """Per cent that an earlier try of this run had committed."""
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]), key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=of_run)
    return max((float(str(artifact.data)) for artifact in found), default=0.0)
