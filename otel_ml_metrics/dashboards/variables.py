"""What can be chosen above a dashboard: data source, job, model, version, variant, maturity, slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import VariableHide, VariableOption, VariableRefresh, VariableSort

from otel_ml_metrics import semconv
from otel_ml_metrics.dashboards import promql
from otel_ml_metrics.dashboards.panels import DATA_SOURCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import VariableModel

    from otel_ml_metrics.dashboards.subject import Subject

    Variable = Builder[VariableModel]

_LIVE: Final = promql.named(semconv.PREDICTIONS)
_LAGGING: Final = promql.named(semconv.EVALUATION_SUPPORT)
_EITHER: Final = f'__name__=~"{_LIVE}|{promql.named(semconv.LABELS)}"'
_ANY: Final = ".*"
_LOOKBACKS: Final = ("1h", "6h", "1d", "2d", "3d", "7d", "14d", "30d", "90d")


def of_live(subject: Subject) -> list[Variable]:
    """Those of live metrics."""
    return [*_of_job(subject), *_of_version(_LIVE, many=True)]


def of_labels(subject: Subject) -> list[Variable]:
    """Those of label delay and coverage."""
    return [*_of_job(subject), *_of_version(_LAGGING, many=True), *_of_group(subject)]


def of_values(subject: Subject, *, many: bool) -> list[Variable]:
    """Those of lagging values.

    Args:
        subject: Whose.
        many: Whether several versions and variants are shown at once; an interval is drawn around one.
    """
    return [*_of_job(subject), *_of_version(_LAGGING, many=many), *_of_group(subject), _maturity(subject)]


def measure(subject: Subject) -> Variable:
    """Which measure; its value matches the names of the metric and of the ends of its interval."""
    return _listed("measure", "Measure", {each.name: "|".join(each.metrics) for each in subject.measures})


def baseline() -> Variable:
    """The variant that others are compared with."""
    return _asked("baseline", "Compared with", _values(_LAGGING, promql.VARIANT, *promql.OF_JOB))


def slices(subject: Subject) -> list[Variable]:
    """By which field, and which of its values."""
    chosen = (*promql.OF_JOB, '$slice!=""')
    values = _asked("slice_value", "Value", _values(_LAGGING, "$slice", *chosen))
    many = values.multi(multi=True).include_all(include_all=True).all_value(".+").current(_all())
    if subject.slicing.fields is None:
        named = f"/^(?<value>{promql.SLICE_PREFIX}(?<text>.+))$/"
        return [_asked("slice", "Slice by", "label_names()").regex(named), many]
    fields = zip(subject.slicing.fields, subject.slicing.attributes, strict=True)
    return [_listed("slice", "Slice by", dict(fields)), many]


def _of_job(subject: Subject) -> list[Variable]:
    evaluation = subject.evaluation
    job = _asked("job", "Service", _values("", promql.JOB, _EITHER))
    model = _asked("model", "Model", _values("", promql.MODEL, _EITHER, f'{promql.JOB}=~"$job"'))
    if evaluation is not None:
        job, model = job.current(_option(evaluation.service)), model.current(_option(evaluation.model))
    source = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    return [source, job, model]


def _of_version(metric: str, *, many: bool) -> list[Variable]:
    version = _asked("version", "Version", _values(metric, promql.VERSION, *promql.OF_JOB))
    version = version.sort(VariableSort.ALPHABETICAL_DESC)  # the newest first, as versions are usually written
    variant = _asked("variant", "Variant", _values(metric, promql.VARIANT, *promql.OF_JOB))
    if not many:
        return [version, variant]
    return [
        each.multi(multi=True).include_all(include_all=True).all_value(_ANY).current(_all())
        for each in (version, variant)
    ]


def _of_group(subject: Subject) -> list[Variable]:
    output = _asked("output", "Output", _values(_LAGGING, promql.OUTPUT, *promql.OF_JOB))
    stages = {each: each for each in (semconv.STAGE_FINAL, semconv.STAGE_PROVISIONAL)}
    shown = str(subject.lookback)
    lookbacks = {each: each for each in dict.fromkeys((shown, *_LOOKBACKS))}
    found = [
        output.include_all(include_all=True).all_value(_ANY).current(_all()),
        _listed("stage", "Stage", stages),
        _listed("lookback", "Values stand for", lookbacks),
    ]
    if subject.slicing.fields is None:
        listed = f"/^({promql.SLICE_PREFIX}.+|{promql.STATUS})$/"
        hidden = _asked("slice_labels", "Slices", "label_names()").regex(listed).hide(VariableHide.HIDE_VARIABLE)
        found.append(hidden.multi(multi=True).include_all(include_all=True).current(_all()))
    return found


def _maturity(subject: Subject) -> Variable:
    found = _asked("maturity", "Maturity", _values(_LAGGING, promql.MATURITY, *promql.OF_JOB))
    if subject.evaluation is None:
        return found
    return _listed("maturity", "Maturity", {str(each): str(each) for each in reversed(subject.evaluation.maturities)})


def _asked(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """What Prometheus says, anew whenever the time range changes."""
    asked: dict[str, object] = {"query": query, "refId": f"variable-{name}"}
    found = dashboard.QueryVariable(name).label(label).datasource(DATA_SOURCE).query(asked)
    return found.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)


def _listed(name: str, label: str, choices: Mapping[str, str]) -> dashboard.CustomVariable:
    """One of these texts, each with what stands in expressions for it; the first by default."""
    text, value = next(iter(choices.items()))
    written = ",".join(f"{shown} : {chosen}" if shown != chosen else chosen for shown, chosen in choices.items())
    listed = [VariableOption(selected=each == text, text=each, value=chosen) for each, chosen in choices.items()]
    current = VariableOption(selected=True, text=text, value=value)
    return dashboard.CustomVariable(name).label(label).values(written).options(listed).current(current)


def _values(metric: str, label: str, *matchers: str) -> str:
    return f"label_values({promql.selector(metric, *matchers)}, {label})"


def _option(value: str) -> VariableOption:
    return VariableOption(selected=True, text=value, value=value)


def _all() -> VariableOption:
    return VariableOption(selected=True, text="All", value="$__all")
