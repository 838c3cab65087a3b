"""Labels as a run finds them: what their source has, which of them are to be taken now, and which cannot be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from otel_ml_metrics.attribution.inputs import LABEL, Input
from otel_ml_metrics.attribution.tables import fact_schema
from otel_ml_metrics.engines.effect_statements import FACT
from otel_ml_metrics.engines.label_statements import Received, read_labels, troubled_labels
from otel_ml_metrics.engines.resolution_statements import OUTCOME
from otel_ml_metrics.instants import from_us, iso
from otel_ml_metrics.labels.opening import source_of

if TYPE_CHECKING:
    import pyarrow as pa

    from otel_ml_metrics.attribution.inputs import LabelPart, Survey
    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.engines.port import Engine
    from otel_ml_metrics.ledger.reader import LedgerReader


@dataclass
class Labelled:
    """What a source has for a run.

    Args:
        inputs: Progress of what was read.
        invalid: Rows that cannot be used.
        warnings: What an operator should know.
        gone_before_us: What was received earlier may no longer be there to be read again; None where everything is.
    """

    inputs: list[Input] = field(default_factory=list)
    invalid: pa.Table | None = None
    warnings: list[str] = field(default_factory=list)
    gone_before_us: int | None = None


class LabelIntake:
    """Reads the labels of an evaluation into `received`: (prediction_id or entity and occurred_us, and what was said).

    Args:
        evaluation: Whose.
        engine: Reads.
        ledger: Says what was taken before.
    """

    def __init__(self, evaluation: Evaluation, engine: Engine, ledger: LedgerReader) -> None:
        self._evaluation = evaluation
        self._engine = engine
        self._known = ledger.inputs(LABEL)
        self._source = source_of(evaluation)
        self._kind = evaluation.label_kind
        self.by_entity = bool(evaluation.labels.keys)
        self.schema = fact_schema(evaluation.kinds["label"], by_entity=self.by_entity)
        self.reach_us = evaluation.horizon.us + (evaluation.within.us if self.by_entity else 0)

    def take(self, *, as_of_us: int) -> Labelled:
        """Define `received`: the good labels that are to be taken now.

        Raises:
            LabelSourceError: The source cannot be read as it is declared.
        """
        survey = self._source.survey(self._known, as_of_us=as_of_us)
        received = self._read(survey, as_of_us)
        labelled = Labelled(warnings=list(survey.warnings))
        for part in survey.parts:
            span = received.get(part.shown)
            labelled.inputs.append(part.input.taken(as_of_us, span and span.last_us))
        if survey.parts:
            invalid = troubled_labels(self._engine, by_entity=self.by_entity)
            labelled.invalid = invalid if len(invalid) else None
        return labelled

    def retake(self, *, start_us: int, end_us: int, until_us: int) -> Labelled:
        """Define `received`: the labels of predictions of a range, and maybe more, as their source has them now.

        Args:
            start_us: Start of the range.
            end_us: End of it.
            until_us: Labels received later are not there yet.

        Raises:
            LabelSourceError: The source cannot be read as it is declared.
        """
        survey = self._source.again(self._known, since_us=start_us, until_us=min(until_us, end_us + self.reach_us))
        received = self._read(survey, until_us)
        labelled = Labelled(warnings=list(survey.warnings), gone_before_us=survey.gone_before_us)
        for part in survey.parts:
            span = received.get(part.shown) if part.rewritten_us is None else Received(*part.rewritten_us)
            if span is None or self._is_whole(part, span, (start_us, end_us), labelled.warnings):
                last_us = span.last_us if span else None
                labelled.inputs.append(part.input._replace(taken_until_us=until_us, last_us=last_us))
        return labelled

    def _read(self, survey: Survey, until_us: int) -> dict[str, Received]:
        if not survey.parts:
            self._engine.put("received", self.schema.empty_table())
            return {}
        evaluation = self._evaluation
        received = read_labels(
            self._engine,
            survey.parts,
            evaluation.labels,
            kind=self._kind,
            classes=self._evaluation.classes,
            until_us=until_us,
            sample=evaluation.sample,
        )
        columns = OUTCOME if self.by_entity else FACT
        self._engine.define("received", f"SELECT {columns} FROM raw_labels WHERE trouble IS NULL")
        return received

    def _is_whole(self, part: LabelPart, span: Received, wanted: tuple[int, int], warnings: list[str]) -> bool:
        """Whether every label of a part is of a range of predictions; else what changed in it stays to be told."""
        start_us, end_us = wanted
        if span.first_us is None or span.last_us is None:
            return True
        since_us = span.first_us - self.reach_us
        if since_us >= start_us and span.last_us <= end_us:
            return True
        known = self._known.get(part.input.name)
        if known is not None and known.fingerprint != part.input.fingerprint:
            since, until = iso(from_us(since_us)), iso(from_us(span.last_us))
            warnings.append(
                f"{part.shown} changed after it was read, and has labels of other times too; a backfill from {since} to"
                f" {until} takes over all of it."
            )
        return False
