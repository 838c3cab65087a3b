"""What is evaluated: monitoring.yaml and its twin in code, with the same names, checked at once."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from otel_ml_metrics import declared, declared_alerts, declared_labels, declared_measures, declared_predictions
from otel_ml_metrics.binning import SCHEME
from otel_ml_metrics.errors import ConfigurationError, ExpressionError
from otel_ml_metrics.instants import Duration
from otel_ml_metrics.measures.bootstrap import ID_GROUP
from otel_ml_metrics.measures.exclusions import Exclusion, exclusions_of
from otel_ml_metrics.measures.measure import Measure, states_of
from otel_ml_metrics.measures.score_bins import ScoreBins, score_bins
from otel_ml_metrics.yaml_source import read_yaml

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from otel_ml_metrics.declared import HoldBack
    from otel_ml_metrics.declared_alerts import Alert
    from otel_ml_metrics.declared_labels import Labels
    from otel_ml_metrics.declared_predictions import ForeignLog
    from otel_ml_metrics.expressions import Kind
    from otel_ml_metrics.measures.exact import Exact
    from otel_ml_metrics.measures.sums import Sum
    from otel_ml_metrics.measures.totals import State

TASKS: Final = ("binary", "multiclass", "multilabel", "quantile", "ranking", "regression")
SPLITS: Final = ("version", "variant")
TIMESTAMPS: Final = ("emit", "event")
MOST_SUPPORT: Final = 1_000_000_000
TILES: Final = 24
"""A provisional value grows in steps of a 24th of its window."""

_DECIDED: Final[dict[str, Kind]] = {
    "binary": "boolean", "multiclass": "string", "multilabel": "number", "quantile": "number", "ranking": "number",
    "regression": "number",
}  # fmt: skip


class Evaluation:
    """One evaluation: which predictions and labels meet, when, and what is measured.

    Args:
        model: Name of the model, as the monitor was given it.
        predictions: Folder of the prediction log, or its URL, such as `s3://bucket/predictions`; or a mapping with its
            `path` and a `sample` of it to evaluate; or a `ForeignFiles`, a `ForeignTable` or a mapping with the names
            of one, for what something else writes.
        labels: A `LabelFiles`, a `LabelTable`, a `LabelFunction` or a mapping with the names of one; a function; or a
            source of the user's own.
        ledger: SQLAlchemy URL of the ledger, one per evaluation; `sqlite:///data/ledger.db` is a local file. A part
            `${NAME}` is read from the environment.
        attribution_window: The longest label delay that counts. Durations are texts such as `6h`, or timedeltas.
        measures: Names of built-in measures, `Measure` or `Exact` values, or mappings: `measure` with its parameters
            and a `threshold`; or `name`, `unit`, `description` and one of `sum`, `mean`, `rate`, `ratio`,
            `weighted_mean`, `quantile`, `value` or `exact`; or `additive: package.module:measure`. Each mapping takes
            `weighted` and `interval: bootstrap`.
        task: `binary`, `multiclass`, `multilabel` (sets of classes), `regression`, `quantile` (several of a number), or
            `ranking` (rows of a query, whose labels are their relevance).
        service: `service.name` of the lagging metrics; default: the model.
        name: Of the evaluation; default: `<service>/<model>`. Stays the same as long as its ledger is used.
        window: Length of a window.
        window_offset: Shift of the windows against 1970-01-01T00:00Z, shorter than the window.
        maturities: Ages at which predictions are judged; the attribution window is always the last.
        slices: Fields, or lists of fields to cross, whose values are evaluated apart; or mappings such as
            `{field: merchant, top: 50}` or `{fields: [carrier, origin], top: 50}`. Of each, the `top` slices with the
            most predictions in a window (1,000 by default) are told apart, and the rest are one slice, `(other)`.
        minimum_support: Rows that a value has to rest on. Of a window, version and slice with fewer, nothing but their
            number is given.
        by: Which of `version` and `variant` split values; what is left out is merged.
        timestamps: `emit` (gauges are the current state) or `event` (points carry their window's end).
        resend_revisions: In event mode, send a revised final value again.
        provisional: Also give values of windows that are not final yet.
        implicit_negative: `{grace: duration}` where silence means no; binary tasks only.
        outbox_retention: How long the ledger keeps points that the receiver has accepted. Points that wait or were
            refused stay, and so does the knowledge of what was sent.
        classes: Of a multiclass or multilabel task: its classes, in the order of the scores.
        quantiles: Of a quantile task: the predicted levels, rising, in the order of the scores; such as [0.1, 0.9].
        query: Of a ranking task: the field that says which query a row is of. A query that is cut by windows or slices
            counts once in each.
        retention: How long `otel-ml-metrics maintain` keeps predictions and labels, in whole dates; None for ever.
            Windows keep their values all the same. At least the attribution window, the grace and one window.
        hold_back: `{below: labels, at_most: duration}`: leave a date with fewer new labels for a later run, for which
            it may have more, but for at most that long (default `1d`), and never where a final value could differ by
            them. Spares reading many dates of the log for a few labels each; only ids of ours tell their date.
        weighted: Count each row as often as its `weight` says, in every measure that does not say otherwise.
        bins: Of the scores, in every measure that bins them and does not say otherwise: `logit1024`; `logit4096`, which
            tells the scores of very rare events apart; or a list of edges, for scores that are no probabilities.
        alerts: Mappings with a `measure` and one of `above`, `below`, `drop` or `rise`; see docs/alerts.md.
        dashboard: URL of the dashboard that shows this evaluation: alerts link to it. A part `${NAME}` is read from the
            environment.

    Raises:
        ConfigurationError: Says what was found, what was expected and what to do.
    """

    name: str
    model: str
    task: str
    classes: tuple[str, ...]  # names of the scores; of a quantile task, its levels
    quantiles: tuple[float, ...]
    query: str | None
    service: str
    predictions: str
    foreign: ForeignLog | None
    sample: float
    labels: Labels
    ledger: str
    window: Duration
    window_offset: timedelta
    attribution_window: Duration
    maturities: tuple[Duration, ...]
    grace: Duration | None
    tops: dict[tuple[str, ...], int]
    minimum_support: int
    by: tuple[str, ...]
    timestamps: str
    resend_revisions: bool
    provisional: bool
    outbox_retention: Duration
    retention: Duration | None
    hold_back: HoldBack | None
    weighted: bool
    bins: ScoreBins
    measures: tuple[Measure, ...]
    exact: tuple[Exact, ...]
    exclusions: tuple[Exclusion, ...]
    alerts: tuple[Alert, ...]
    dashboard: str | None

    def __init__(
        self,
        *,
        model: str,
        predictions: str | os.PathLike[str] | ForeignLog | Mapping[str, Any],
        labels: Labels | Mapping[str, Any] | Callable[..., object],
        ledger: str,
        attribution_window: str | timedelta,
        measures: Sequence[str | Measure | Exact | Mapping[str, Any]],
        task: str = "binary",
        service: str | None = None,
        name: str | None = None,
        window: str | timedelta = "1d",
        window_offset: str | timedelta | None = None,
        maturities: Sequence[str | timedelta] = (),
        slices: Sequence[str | Sequence[str] | Mapping[str, Any]] = (),
        minimum_support: int = 1,
        by: Sequence[str] = SPLITS,
        timestamps: str = "emit",
        resend_revisions: bool = False,
        provisional: bool = False,
        implicit_negative: Mapping[str, Any] | None = None,
        outbox_retention: str | timedelta = "30d",
        retention: str | timedelta | None = None,
        hold_back: Mapping[str, Any] | None = None,
        weighted: bool = False,
        bins: str | Sequence[float] = SCHEME,
        classes: Sequence[str] | None = None,
        quantiles: Sequence[float] | None = None,
        query: str | None = None,
        alerts: Sequence[Mapping[str, Any]] = (),
        dashboard: str | None = None,
    ) -> None:
        self.model = declared.text("model", model)
        self.task = declared.choice("task", task, TASKS)
        self.quantiles = declared.quantiles(quantiles, self.task)
        self.query = declared.query(query, self.task)
        self.classes = declared.classes(classes, self.task) or tuple(map(repr, self.quantiles))
        self.service = declared.text("service", self.model if service is None else service)
        self.name = declared.text("name", f"{self.service}/{self.model}" if name is None else name)
        logged = declared_predictions.predictions(predictions)
        self.foreign, self.sample = logged.foreign, logged.sample
        self.labels = declared_labels.labels(labels, self.task)
        self.ledger = declared.ledger_url(ledger)
        self.predictions = _beside(self.ledger, self.name) if logged.folder is None else logged.folder
        self.window = declared.duration("window", window)
        self.window_offset = declared.window_offset(window_offset, self.window)
        self.attribution_window = declared.duration("attribution_window", attribution_window)
        self.grace = declared.grace(implicit_negative, self.task)
        self.maturities = declared.maturities(maturities, self.attribution_window, self.grace)
        self.tops = declared.slices(slices)
        self.minimum_support = declared.whole("minimum_support", minimum_support, least=1, most=MOST_SUPPORT)
        self.by = tuple(
            declared.choice(f"by[{at}]", split, SPLITS) for at, split in enumerate(declared.items("by", by))
        )
        self.timestamps = declared.choice("timestamps", timestamps, TIMESTAMPS)
        self.resend_revisions = declared.switch("resend_revisions", resend_revisions)
        self.provisional = declared.switch("provisional", provisional)
        self.outbox_retention = declared.duration("outbox_retention", outbox_retention)
        self.retention = None if retention is None else declared.duration("retention", retention)
        self.hold_back = declared.hold_back(hold_back)
        self.weighted = declared.switch("weighted", weighted)
        self.bins = score_bins(bins)
        self.measures, self.exact = declared_measures.measures(
            measures,
            self.task,
            classes=self.classes,
            weighted=self.weighted,
            bins=self.bins,
            query=self.query,
        )
        self.exclusions = exclusions_of(self.measures, self.classes if self.task == "multiclass" else ())
        self.alerts = declared_alerts.alerts(alerts, self._judged)
        self.dashboard = declared.web_address("dashboard", dashboard)
        self._check()

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Read monitoring.yaml; its relative paths start at its own folder.

        Raises:
            ConfigurationError: Names the file, the line and the place, and offers what would have worked.
        """
        source = read_yaml(Path(path))
        try:
            return cls(**_arguments(source.content, source.path.resolve().parent))
        except ConfigurationError as error:
            raise ConfigurationError(
                error.message, error.where, str(path), source.line_of(error.where)
            ) from error.__cause__

    @property
    def tile(self) -> timedelta:
        """What sums are kept per: the window, or a 24th of it where provisional values are asked for."""
        return self.window / TILES if self.provisional else timedelta(seconds=self.window.seconds_whole)

    @property
    def horizon(self) -> Duration:
        """The longest label delay that is used: the attribution window, and the grace where silence means no."""
        return self.maturities[-1]

    @property
    def within(self) -> Duration:
        """How long before an outcome the prediction about its entity may lie, where labels name entities."""
        return self.labels.window or self.attribution_window

    @property
    def slices(self) -> tuple[tuple[str, ...], ...]:
        """The fields that are sliced by, alone or crossed."""
        return tuple(self.tops)

    @property
    def slice_fields(self) -> tuple[str, ...]:
        """Every field that slices, once, in a fixed order."""
        return tuple(sorted({field for fields_crossed in self.slices for field in fields_crossed}))

    @property
    def all_measures(self) -> tuple[Measure | Exact, ...]:
        """The measures made of sums, and the exact ones."""
        return (*self.measures, *self.exact)

    @property
    def label_kind(self) -> str:
        """What a label is where it comes from: a boolean, a number, a string (one of the classes), or a set of them."""
        return "set" if self.task == "multilabel" else self.kinds["label"]

    @property
    def states(self) -> tuple[State, ...]:
        """The sums that measures need, each once."""
        return states_of(self.measures)

    @property
    def left_out_counts(self) -> tuple[Sum, ...]:
        """The sums that count what measures leave out, each once."""
        return tuple(dict.fromkeys(each for exclusion in self.exclusions for each in exclusion.sums))

    @cached_property
    def columns(self) -> frozenset[str]:
        """Names of the columns that a row needs for the measures."""
        needed: list[Sum | Measure | Exact] = [*self.all_measures, *self.left_out_counts]
        return frozenset[str]().union(*(each.columns() for each in needed))

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """Kind of every column that a joined row has, the fields of the measures included."""
        decided = _DECIDED[self.task]
        known: dict[str, Kind] = {
            "label": decided,
            "prediction": decided,
            "score": "number",
            "score_bin": "number",
            "weight": "number",
            "duration": "number",
            "acted_on": "boolean",
            ID_GROUP: "number",
        }
        slices: dict[str, Kind] = dict.fromkeys(self.slice_fields, "string")
        others: dict[str, Kind] = dict.fromkeys(sorted(self.columns - known.keys()), "number")
        queries: dict[str, Kind] = {self.query: "string"} if self.query else {}
        return others | known | slices | queries

    @property
    def _judged(self) -> declared_alerts.Judged:
        """What alerts can be about."""
        return declared_alerts.Judged(
            self.all_measures, self.maturities, self.slices, self.by, is_silence_no=self.grace is not None
        )

    def _check_retention(self) -> None:
        """See that nothing is retired of which labels may still come."""
        least = timedelta(seconds=self.horizon.seconds_whole + self.window.seconds_whole)
        if self.retention is not None and self.retention < least:
            message = (
                f"found {self.retention}, expected at least {Duration(least)}, the attribution window with its grace"
                " and one window: labels of younger predictions may still come."
            )
            raise ConfigurationError(message, "retention")

    def _check(self) -> None:
        self._check_retention()
        if self.resend_revisions and self.timestamps != "event":
            message = "revised values are sent again in event mode only. Say timestamps: event, or leave this out."
            raise ConfigurationError(message, "resend_revisions")
        if self.hold_back is not None and (self.provisional or self.labels.keys):
            which = "provisional values" if self.provisional else "labels that name an entity"
            message = f"{which} need every label as soon as it comes. Leave hold_back or {which} out."
            raise ConfigurationError(message, "hold_back")
        if self.provisional and self.window.us % TILES:
            message = f"provisional values need a window that {TILES} divides; {self.window} is none."
            raise ConfigurationError(message, "provisional")
        self._check_measures()

    def _check_measures(self) -> None:
        """See that the measures have the columns and the slices that they need."""
        kinds = self.kinds
        for at, measure in enumerate(self.measures):
            if measure.over is not None and measure.over not in self.slice_fields:
                message = f"{measure.over!r} is no slice, so there are no groups. Name it under slices: as well."
                raise ConfigurationError(message, f"measures[{at}].over")
            for state in measure.states:
                try:
                    state.check(kinds)
                except ExpressionError as error:
                    raise ConfigurationError(str(error), f"measures[{at}]") from error


def _arguments(content: object, folder: Path) -> dict[str, Any]:
    """Turn the content of a file into the arguments of an evaluation."""
    allowed = set(Evaluation.__init__.__kwdefaults__ or {}) | {
        "model", "predictions", "labels", "ledger", "attribution_window", "measures",
    }  # fmt: skip
    if not isinstance(content, dict):
        message = "a monitoring.yaml is a mapping that starts with model:, predictions:, labels: and ledger:."
        raise ConfigurationError(message)
    declared.check_names("", content, allowed)
    for required in ("model", "predictions", "labels", "ledger", "attribution_window", "measures"):
        if required not in content:
            message = f"{required!r} is missing. It has no default, since no guess would be safe."
            raise ConfigurationError(message)
    arguments = {name: value for name, value in content.items() if value is not None or name not in _OPTIONAL}
    arguments["predictions"] = _anchored_source(arguments["predictions"], folder)
    arguments["ledger"] = _anchored_url(arguments["ledger"], folder)
    if isinstance(arguments["labels"], dict):
        arguments["labels"] = _anchored_source(arguments["labels"], folder)
    return arguments


_OPTIONAL: Final = frozenset(
    {
        "service", "name", "window_offset", "implicit_negative", "slices", "maturities", "retention", "hold_back",
        "alerts", "dashboard",
    }
)  # fmt: skip


def _beside(ledger: str, name: str) -> str:
    """Folder of the log that foreign predictions are taken over into, where none is named."""
    if not ledger.startswith("sqlite:///"):
        message = (
            "the ledger is no file that the predictions could be put beside. Say in which folder of this machine they"
            " are taken over into, such as into: data/predictions."
        )
        raise ConfigurationError(message, "predictions.into")
    return str(Path(ledger.removeprefix("sqlite:///")).parent / f"{quote(name, safe='')}-predictions")


def _anchored_source(source: object, folder: Path) -> object:
    """A source whose relative paths start at a folder."""
    if not isinstance(source, dict):
        return _anchored(source, folder)
    paths = {name: _anchored(source[name], folder) for name in ("path", "into") if name in source}
    return source | paths | ({"url": _anchored_url(source["url"], folder)} if "url" in source else {})


def _anchored(path: object, folder: Path) -> object:
    if not isinstance(path, str) or "://" in path:
        return path
    return str(folder / path)


def _anchored_url(url: object, folder: Path) -> object:
    prefix = "sqlite:///"
    if not isinstance(url, str) or not url.startswith(prefix) or url.removeprefix(prefix).startswith((":memory:", "/")):
        return url
    return prefix + str(folder / url.removeprefix(prefix))
