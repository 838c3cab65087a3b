"""Panels of a kind each, so that every dashboard draws the same thing in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import common as options
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
)
from grafana_foundation_sdk.models.dashboard import Panel as PanelModel
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grafana_foundation_sdk.cog.builder import Builder

    Panel = Builder[PanelModel]

DATA_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
COLUMNS: Final = 24
HEIGHT: Final = 8
SMALL: Final = 4
LOWER: Final = "lower"
UPPER: Final = "upper"

_BAND_OPACITY: Final = 20
_GRAFANA_UNITS: Final = {
    "1": "percentunit", "%": "percent", "s": "s", "ms": "ms", "us": "µs", "min": "m", "h": "h", "d": "d",
    "By": "bytes", "Cel": "celsius", "m": "lengthm", "USD": "currencyUSD", "EUR": "currencyEUR", "GBP": "currencyGBP",
}  # fmt: skip


@dataclass(frozen=True)
class Query:
    """One PromQL expression of a panel.

    Args:
        expression: PromQL, with Grafana's variables.
        legend: What a series is called; `{{label}}` is that label's value.
        exemplar: Whether traces of single predictions are shown as points.
    """

    expression: str
    legend: str
    exemplar: bool = False


def grafana_unit(unit: str) -> str:
    """What Grafana calls a unit of ours.

    >>> grafana_unit("1"), grafana_unit("USD"), grafana_unit("{flight}"), grafana_unit("kg")
    ('percentunit', 'currencyUSD', 'short', 'suffix: kg')
    """
    return _GRAFANA_UNITS.get(unit) or ("short" if "{" in unit else f"suffix: {unit}")


def lines(title: str, told: str, *queries: Query, unit: str = "short", width: int = 12) -> timeseries.Panel:
    """Lines over time; the ends of an interval, where they are among the queries, as a band."""
    panel = timeseries.Panel().title(title).description(told).datasource(DATA_SOURCE).span(width).height(HEIGHT)
    panel = panel.unit(unit).line_width(1).show_points(common.VisibilityMode.AUTO).no_value("no data")
    panel = panel.legend(_legend()).tooltip(options.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
    if LOWER in {query.legend for query in queries}:
        bounds = [DynamicConfigValue("custom.lineWidth", 0), DynamicConfigValue("custom.showPoints", "never")]
        filled = [
            DynamicConfigValue("custom.fillBelowTo", LOWER),
            DynamicConfigValue("custom.fillOpacity", _BAND_OPACITY),
        ]
        panel = panel.override_by_name(LOWER, bounds).override_by_name(UPPER, [*bounds, *filled])
    for target in _targets(queries):
        panel = panel.with_target(target.range())
    return panel


def stacked(title: str, told: str, *queries: Query, unit: str = "short", width: int = 12) -> timeseries.Panel:
    """Areas over time, one upon the other: parts of a whole."""
    stacking = options.StackingConfig().mode(common.StackingMode.NORMAL)
    return lines(title, told, *queries, unit=unit, width=width).fill_opacity(_BAND_OPACITY).stacking(stacking)


def number(title: str, told: str, query: Query, *, unit: str = "short", decimals: int | None = None) -> stat.Panel:
    """The newest value, large."""
    panel = stat.Panel().title(title).description(told).datasource(DATA_SOURCE).span(COLUMNS // 4).height(SMALL)
    panel = panel.unit(unit).no_value("no data").graph_mode(common.BigValueGraphMode.AREA)
    panel = panel.reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]))
    if decimals is not None:
        panel = panel.decimals(decimals)
    (target,) = _targets((query,))
    return panel.with_target(target.range())


def distribution(title: str, told: str, query: Query, *, unit: str = "short", width: int = 12) -> heatmap.Panel:
    """A histogram over time: buckets upwards, the number of values as colour."""
    panel = heatmap.Panel().title(title).description(told).datasource(DATA_SOURCE).span(width).height(HEIGHT)
    axis = heatmap.YAxisConfig().unit(unit)
    (target,) = _targets((query,))
    return panel.y_axis(axis).with_target(target.range().format(PromQueryFormat.HEATMAP))


def columns(
    title: str, told: str, queries: Mapping[str, str], *, key: str, units: Mapping[str, str], width: int = COLUMNS
) -> table.Panel:
    """A table of the newest values: one row per value of the label `key`, one column per query.

    Args:
        title: Of the panel.
        told: Its description.
        queries: By the column's title, PromQL.
        key: The only label that the expressions keep.
        units: By the column's title, Grafana's unit.
        width: In Grafana's columns.
    """
    panel = _table(title, told, width)
    for name, query in queries.items():
        (target,) = _targets((Query(query, ""),))
        panel = panel.with_target(target.instant().format(PromQueryFormat.TABLE).ref_id(name))
    renamed = {f"Value #{name}": name for name in queries} | (
        {"Value": next(iter(queries))} if len(queries) == 1 else {}
    )
    organised = {"excludeByName": {"Time": True}, "indexByName": {key: 0}, "renameByName": renamed}
    panel = panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(DataTransformerConfig(id_val="organize", options=organised))
    for name, unit in units.items():
        panel = panel.override_by_name(name, [DynamicConfigValue("unit", unit)])
    return panel


def matrix(title: str, told: str, query: str, *, row: str, column: str) -> table.Panel:
    """A table of the newest values: one row and one column per value of two labels."""
    (target,) = _targets((Query(query, ""),))
    grouped = {"rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "empty"}
    panel = _table(title, told, COLUMNS).with_target(target.instant().format(PromQueryFormat.TABLE))
    return panel.with_transformation(DataTransformerConfig(id_val="groupingToMatrix", options=grouped))


def _table(title: str, told: str, width: int) -> table.Panel:
    panel = table.Panel().title(title).description(told).datasource(DATA_SOURCE).span(width).height(HEIGHT)
    return panel.show_header(show_header=True)


def _legend() -> options.VizLegendOptions:
    legend = options.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST)
    return legend.placement(common.LegendPlacement.BOTTOM).show_legend(show_legend=True)


def _targets(queries: tuple[Query, ...]) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery()
        .expr(query.expression)
        .legend_format(query.legend)
        .ref_id(letter)
        .exemplar(query.exemplar)
        for letter, query in zip("ABCDEFGH", queries, strict=False)
    ]
