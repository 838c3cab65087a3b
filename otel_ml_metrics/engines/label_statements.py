"""Labels as they lie, read into facts (who, received_us, revision, label) or told apart as invalid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from otel_ml_metrics.engines.delta_statements import UNITS_OF_A_SUM
from otel_ml_metrics.engines.text import entity_sql, finite_sql, name_sql, sampled_sql, text_sql
from otel_ml_metrics.engines.value_statements import instant_sql, no_zone, set_sql, truth_sql, zoneless_sql
from otel_ml_metrics.errors import EngineError, LabelSourceError, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from otel_ml_metrics.attribution.inputs import LabelPart
    from otel_ml_metrics.declared_labels import Labels
    from otel_ml_metrics.engines.port import Engine


NO_CLASS: Final = "label outside classes"
NO_NUMBER: Final = "label no finite number"


@dataclass(frozen=True)
class _Group:
    """Labels with the same columns and types, of which the same stretch of time is to be read.

    Args:
        relation: SQL of the rows, with `filename`.
        shown: Path or name of one part, for messages.
        types: Type of each column.
        after_us: Facts received up to here were taken before.
    """

    relation: str
    shown: str
    types: Mapping[str, str]
    after_us: int | None


class Received(NamedTuple):
    """When the first and the last label of a part were received; None where no row says."""

    first_us: int | None
    last_us: int | None


def read_labels(
    engine: Engine,
    parts: Sequence[LabelPart],
    source: Labels,
    *,
    kind: str,
    until_us: int,
    classes: Sequence[str] = (),
    sample: float = 1.0,
) -> dict[str, Received]:
    """Materialise `raw_labels`: every row of the parts that is to be taken now, read as far as it can be.

    Its columns are prediction_id or (entity, occurred_us), received_us, revision, label, and trouble: NULL for a good
    row. A row whose instant cannot be read is taken with the first rows of its part.

    Args:
        engine: Reads.
        parts: What is read.
        source: What its columns are.
        kind: Of the labels.
        until_us: Labels received later are left for another run.
        classes: What labels of kind string may say, and what sets may hold.
        sample: Share of the predictions (or entities) whose labels are read; rows that name none are.

    Returns:
        When the labels of each part were received that has any, those of a later run included.

    Raises:
        LabelSourceError: A part cannot be read, misses a column, or has instants without a zone.
    """
    groups = _groups(engine, parts)
    label = partial(_label_sql, kind=kind, classes=classes, is_summed=source.aggregate == "sum")
    unusable = NO_NUMBER if kind == "number" else NO_CLASS
    selects = [_select(group, source, label, unusable=unusable, until_us=until_us, sample=sample) for group in groups]
    spans = [_span_select(group, source) for group in groups]
    try:
        engine.materialise("raw_labels", " UNION ALL ".join(selects))
        found = engine.sql(" UNION ALL ".join(spans)).to_pylist()
    except EngineError as error:
        shown = ", ".join(part.shown for part in parts)
        message = f"The labels cannot be read: {str(error).splitlines()[0]}. Mend or remove that one of {shown}."
        raise LabelSourceError(message) from error
    for part in sorted(found, key=itemgetter("part")):
        if part["is_naive"]:
            raise LabelSourceError(no_zone(part["part"], source.received_at))
    return {part["part"]: Received(part["first_us"], part["last_us"]) for part in found}


def troubled_labels(engine: Engine, *, by_entity: bool) -> pa.Table:
    """The rows of `raw_labels` that cannot be used: part, whose they are, received_at, what they said, problem."""
    who = "entity" if by_entity else "prediction_id"
    problem, part, said = (f"split_part(trouble, chr(31), {at})" for at in (1, 2, 3))
    return engine.sql(
        f"SELECT {part} AS part, {who}, make_timestamp(received_us) AS received_at, {said} AS label,"
        f" {problem} AS problem FROM raw_labels WHERE trouble IS NOT NULL ORDER BY ALL"
    )


def _groups(engine: Engine, parts: Sequence[LabelPart]) -> list[_Group]:
    """Group files by their columns and types: read together, the engine would fill up and convert what differs."""
    groups: list[_Group] = []
    alike: dict[tuple[str, int | None, tuple[tuple[str, str], ...]], list[LabelPart]] = {}
    for at, part in enumerate(parts):
        if part.table is None:
            types = _types(engine, engine.scan([part.shown], form=part.form), part)
            alike.setdefault((part.form, part.after_us, tuple(sorted(types.items()))), []).append(part)
        else:
            engine.put(f"label_table_{at}", part.table)
            relation = f"(SELECT *, {text_sql(part.shown)} AS filename FROM label_table_{at})"
            groups.append(_Group(relation, part.shown, _types(engine, relation, part), part.after_us))
    for (form, after_us, columns), members in alike.items():
        relation = engine.scan([part.shown for part in members], form=form)
        groups.append(_Group(relation, members[0].shown, dict(columns), after_us))
    return groups


def _types(engine: Engine, relation: str, part: LabelPart) -> dict[str, str]:
    try:
        types = engine.types(relation)
    except EngineError as error:
        message = (
            f"The label file {part.shown} cannot be read as {part.form}: {str(error).splitlines()[0]}. If it is still"
            " being written, write it aside and rename it when it is whole; else remove it."
        )
        raise LabelSourceError(message) from error
    ours = {"filename", "file_row_number"}
    return {name: found for name, found in types.items() if name not in ours}


def _select(
    group: _Group,
    source: Labels,
    label: Callable[[str, str], str],
    *,
    unusable: str,
    until_us: int,
    sample: float,
) -> str:
    for column in source.columns:
        if column not in group.types:
            message = f"{group.shown} has no column {column!r} for labels. {suggest(column, group.types)}"
            raise LabelSourceError(message)
    read = {
        **_identity(group, source),
        "received_us": _instant_sql(group, source.received_at, source.zone),
        "revision": f"coalesce(TRY_CAST({name_sql(source.revision)} AS BIGINT), 0)" if source.revision else "0::BIGINT",
        "label": label(source.label, group.types[source.label]),
    }
    naive = zoneless_sql(source.received_at, group.types[source.received_at], source.zone)
    good = " AND ".join(f"{name} IS NOT NULL" for name in read)
    said = "coalesce(CAST(said AS VARCHAR), '')"  # a text of each label costs more than all else: only of bad rows
    after = "TRUE" if group.after_us is None else f"received_us > {group.after_us}"
    return (
        f"SELECT {', '.join(read)}, CASE WHEN {good} AND NOT is_naive THEN NULL ELSE CASE {_problem_sql(source)}"
        " WHEN is_naive THEN 'no time zone' WHEN received_us IS NULL THEN 'no instant'"
        f" WHEN label IS NULL AND trim({said}) = '' THEN 'no label' WHEN label IS NULL THEN {text_sql(unusable)} END"
        f" || chr(31) || filename || chr(31) || {said} END"
        f" AS trouble FROM (SELECT {', '.join(f'{sql} AS {name}' for name, sql in read.items())}, {naive} AS is_naive,"
        f" filename, {name_sql(source.label)} AS said FROM {group.relation}) AS read"
        f" WHERE {after} AND (received_us IS NULL OR received_us <= {until_us}) AND {_sampled_sql(source, sample)}"
    )


def _span_select(group: _Group, source: Labels) -> str:
    received = _instant_sql(group, source.received_at, source.zone)
    naive = zoneless_sql(source.received_at, group.types[source.received_at], source.zone)
    return (
        f"SELECT filename AS part, min({received}) AS first_us, max({received}) AS last_us, bool_and({naive}) AS"
        f" is_naive FROM {group.relation} GROUP BY filename"
    )


def _identity(group: _Group, source: Labels) -> dict[str, str]:
    """Whose label it is: a prediction's, or an entity's at an instant."""
    if not source.keys:
        return {"prediction_id": f"nullif(CAST({name_sql(source.id)} AS VARCHAR), '')"}
    return {
        "entity": entity_sql([(name, group.types[name]) for name, _ in source.keys]),
        "occurred_us": _instant_sql(group, source.occurred_at or source.received_at, source.zone),
    }


def _sampled_sql(source: Labels, sample: float) -> str:
    who = "entity" if source.keys else "prediction_id"
    return f"({who} IS NULL OR {sampled_sql(who, sample)})" if sample < 1 else "TRUE"


def _problem_sql(source: Labels) -> str:
    if not source.keys:
        return "WHEN prediction_id IS NULL THEN 'no prediction id'"
    return (
        "WHEN entity IS NULL THEN 'no key'"
        " WHEN received_us IS NOT NULL AND occurred_us IS NULL THEN 'no instant of the outcome'"
    )


def _instant_sql(group: _Group, name: str, zone: str | None) -> str:
    return instant_sql(name, group.types[name], zone, shown=group.shown, refusal=LabelSourceError)


def _label_sql(name: str, found: str, *, kind: str, classes: Sequence[str], is_summed: bool) -> str:
    column = name_sql(name)
    if kind == "boolean":
        return truth_sql(name, found)
    if kind == "string":
        text = f"trim(CAST({column} AS VARCHAR))"
        return f"CASE WHEN {text} IN ({', '.join(map(text_sql, classes))}) THEN {text} END"
    if kind == "set":
        return set_sql(column, found, classes)
    number = finite_sql(f"TRY_CAST({column} AS DOUBLE)")
    if is_summed:
        return f"CASE WHEN abs({number}) <= 1e15 THEN floor({number} * {UNITS_OF_A_SUM} + 0.5) / {UNITS_OF_A_SUM} END"
    return number
