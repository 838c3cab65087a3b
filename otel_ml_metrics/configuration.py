"""What is evaluated: monitoring.yaml and its twin in code, with the same names, checked at once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from otel_ml_metrics.errors import ConfigurationError, ExpressionError, suggest
from otel_ml_metrics.instants import Duration
from otel_ml_metrics.measures.custom import mean_measure, ratio_measure, sum_measure
from otel_ml_metrics.measures.measure import Measure, states_of
from otel_ml_metrics.measures.sums import Sum
from otel_ml_metrics.measures.table import measures_for
from otel_ml_metrics.semconv import RESERVED_FIELDS
from otel_ml_metrics.yaml_source import read_yaml

if TYPE_CHECKING:
    from otel_ml_metrics.expressions import Kind
    from otel_ml_metrics.measures.totals import State

TASKS: Final = ("binary", "regression")
SPLITS: Final = ("version", "variant")
TIMESTAMPS: Final = ("emit", "event")
TILES: Final = 24
"""A provisional value grows in steps of a 24th of its window."""

_FORMS: Final = ("sum", "mean", "ratio")
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_DECIDED: Final[dict[str, Kind]] = {"binary": "boolean", "regression": "number"}


@dataclass(frozen=True, kw_only=True)
class LabelFiles:
    """A folder of Parquet or CSV files that grows by new files.

    Args:
        path: A file, a folder or a pattern; CSV if it ends in .csv or .csv.gz, else Parquet.
        id: Column of the prediction's id.
        label: Column of the ground truth.
        received_at: Column of the instant at which the label reached us.
        revision: Column of a whole number that orders labels received at the same instant.
        zone: IANA zone of instants that name none, such as `UTC`; without it they are refused.
    """

    path: str
    id: str = "prediction_id"
    label: str = "label"
    received_at: str = "received_at"
    revision: str | None = None
    zone: str | None = None


class Evaluation:
    """One evaluation: which predictions and labels meet, when, and what is measured.

    Args:
        model: Name of the model, as the monitor was given it.
        predictions: Folder of the prediction log.
        labels: A `LabelFiles`, or a mapping with its names.
        ledger: SQLAlchemy URL of the ledger, one per evaluation; `sqlite:///data/ledger.db` is a local file. A part
            `${NAME}` is read from the environment.
        attribution_window: The longest label delay that counts. Durations are texts such as `6h`, or timedeltas.
        measures: Names of built-in measures, `Measure` values, or mappings with `name`, `unit`, `description` and one
            of `sum`, `mean` or `ratio: {numerator, denominator}`.
        task: `binary` or `regression`.
        service: `service.name` of the lagging metrics; default: the model.
        name: Of the evaluation; default: `<service>/<model>`. Stays the same as long as its ledger is used.
        window: Length of a window.
        window_offset: Shift of the windows against 1970-01-01T00:00Z, shorter than the window.
        maturities: Ages at which predictions are judged; the attribution window is always the last.
        slices: Fields, or lists of fields to cross, whose values are evaluated apart.
        by: Which of `version` and `variant` split values; what is left out is merged.
        timestamps: `emit` (gauges are the current state) or `event` (points carry their window's end).
        resend_revisions: In event mode, send a revised final value again.
        provisional: Also give values of windows that are not final yet.
        implicit_negative: `{grace: duration}` where silence means no; binary tasks only.

    Raises:
        ConfigurationError: Says what was found, what was expected and what to do.
    """

    name: str
    model: str
    task: str
    service: str
    predictions: str
    labels: LabelFiles
    ledger: str
    window: Duration
    window_offset: timedelta
    attribution_window: Duration
    maturities: tuple[Duration, ...]
    grace: Duration | None
    slices: tuple[tuple[str, ...], ...]
    by: tuple[str, ...]
    timestamps: str
    resend_revisions: bool
    provisional: bool
    measures: tuple[Measure, ...]

    def __init__(
        self,
        *,
        model: str,
        predictions: str | os.PathLike[str],
        labels: LabelFiles | Mapping[str, Any],
        ledger: str,
        attribution_window: str | timedelta,
        measures: Sequence[str | Measure | Mapping[str, Any]],
        task: str = "binary",
        service: str | None = None,
        name: str | None = None,
        window: str | timedelta = "1d",
        window_offset: str | timedelta | None = None,
        maturities: Sequence[str | timedelta] = (),
        slices: Sequence[str | Sequence[str]] = (),
        by: Sequence[str] = SPLITS,
        timestamps: str = "emit",
        resend_revisions: bool = False,
        provisional: bool = False,
        implicit_negative: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = _text("model", model)
        self.task = _choice("task", task, TASKS)
        self.service = _text("service", self.model if service is None else service)
        self.name = _text("name", f"{self.service}/{self.model}" if name is None else name)
        self.predictions = _path("predictions", predictions)
        self.labels = _labels(labels)
        self.ledger = _ledger(ledger)
        self.window = _duration("window", window)
        self.window_offset = _offset(window_offset, self.window)
        self.attribution_window = _duration("attribution_window", attribution_window)
        self.grace = _grace(implicit_negative, self.task)
        self.maturities = _maturities(maturities, self.attribution_window, self.grace)
        self.slices = _slices(slices)
        self.by = tuple(_choice(f"by[{at}]", split, SPLITS) for at, split in enumerate(_list("by", by)))
        self.timestamps = _choice("timestamps", timestamps, TIMESTAMPS)
        self.resend_revisions = _switch("resend_revisions", resend_revisions)
        self.provisional = _switch("provisional", provisional)
        self.measures = _measures(measures, self.task)
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
    def slice_fields(self) -> tuple[str, ...]:
        """Every field that slices, once, in a fixed order."""
        return tuple(sorted({field for fields_crossed in self.slices for field in fields_crossed}))

    @property
    def states(self) -> tuple[State, ...]:
        """The sums that all measures need, each once."""
        return states_of(self.measures)

    @property
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
        }
        known.update(dict.fromkeys(self.slice_fields, "string"))
        needed = {column for measure in self.measures for column in measure.columns()}
        return dict.fromkeys(sorted(needed - known.keys()), "number") | known

    def _check(self) -> None:
        if self.resend_revisions and self.timestamps != "event":
            message = "revised values are sent again in event mode only. Say timestamps: event, or leave this out."
            raise ConfigurationError(message, "resend_revisions")
        if self.provisional and timedelta(seconds=self.window.seconds_whole) % TILES:
            message = f"provisional values need a window that {TILES} divides; {self.window} is none."
            raise ConfigurationError(message, "provisional")
        for at, measure in enumerate(self.measures):
            for state in measure.states:
                try:
                    if isinstance(state, Sum):
                        state.check(self.kinds)
                except ExpressionError as error:
                    raise ConfigurationError(str(error), f"measures[{at}]") from error


def _arguments(content: Any, folder: Path) -> dict[str, Any]:
    """Turn the content of a file into the arguments of an evaluation."""
    allowed = set(Evaluation.__init__.__kwdefaults__ or {}) | {
        "model", "predictions", "labels", "ledger", "attribution_window", "measures",
    }  # fmt: skip
    if not isinstance(content, dict):
        message = "a monitoring.yaml is a mapping that starts with model:, predictions:, labels: and ledger:."
        raise ConfigurationError(message)
    _check_names("", content, allowed)
    for required in ("model", "predictions", "labels", "ledger", "attribution_window", "measures"):
        if required not in content:
            message = f"{required!r} is missing. It has no default, since no guess would be safe."
            raise ConfigurationError(message)
    arguments = {name: value for name, value in content.items() if value is not None or name not in _OPTIONAL}
    arguments["predictions"] = _anchored(arguments["predictions"], folder)
    arguments["ledger"] = _anchored_url(arguments["ledger"], folder)
    if isinstance(arguments["labels"], dict) and "path" in arguments["labels"]:
        arguments["labels"] = arguments["labels"] | {"path": _anchored(arguments["labels"]["path"], folder)}
    return arguments


_OPTIONAL: Final = frozenset({"service", "name", "window_offset", "implicit_negative", "slices", "maturities"})


def _anchored(path: Any, folder: Path) -> Any:
    if not isinstance(path, str) or "://" in path:
        return path
    return str(folder / path)


def _anchored_url(url: Any, folder: Path) -> Any:
    prefix = "sqlite:///"
    if not isinstance(url, str) or not url.startswith(prefix) or url.removeprefix(prefix).startswith((":memory:", "/")):
        return url
    return prefix + str(folder / url.removeprefix(prefix))


def _check_names(where: str, found: Mapping[str, Any], allowed: set[str]) -> None:
    for name in found:
        if name not in allowed:
            message = f"{name!r} is not known here. {suggest(name, allowed)}"
            raise ConfigurationError(message, f"{where}.{name}" if where else name)


def _refused(where: str, found: object, expected: str) -> ConfigurationError:
    return ConfigurationError(f"found {found!r}, expected {expected}.", where)


def _text(where: str, found: object) -> str:
    if not isinstance(found, str) or not found.strip():
        raise _refused(where, found, "a text that is not empty")
    return found


def _path(where: str, found: object) -> str:
    if isinstance(found, os.PathLike):
        found = os.fspath(found)
    return _text(where, found)


def _choice(where: str, found: object, choices: Sequence[str]) -> str:
    if not isinstance(found, str) or found not in choices:
        hint = suggest(found, choices) if isinstance(found, str) else ""
        raise _refused(where, found, f"one of {', '.join(choices)}; {hint}".rstrip("; ."))
    return found


def _switch(where: str, found: object) -> bool:
    if not isinstance(found, bool):
        raise _refused(where, found, "true or false")
    return found


def _list(where: str, found: object) -> Sequence[Any]:
    if isinstance(found, (str, Mapping)) or not isinstance(found, Sequence):
        raise _refused(where, found, "a list")
    return found


def _duration(where: str, found: object) -> Duration:
    if not isinstance(found, (str, timedelta)):
        raise _refused(where, found, "a duration with its unit, such as 6h or 1d")
    try:
        return Duration(found)
    except ValueError as error:
        raise ConfigurationError(str(error), where) from error


def _offset(found: object, window: Duration) -> timedelta:
    if found in (None, "0", "0s", 0) or found == timedelta():
        return timedelta()
    offset = _duration("window_offset", found)
    if offset >= window:
        raise _refused("window_offset", str(offset), f"less than the window, {window}")
    return timedelta(seconds=offset.seconds_whole)


def _grace(found: object, task: str) -> Duration | None:
    if found is None:
        return None
    if not isinstance(found, Mapping):
        raise _refused("implicit_negative", found, "a mapping such as {grace: 1d}")
    _check_names("implicit_negative", found, {"grace"})
    if task != "binary":
        raise _refused("implicit_negative", task, "a binary task, since only there silence can mean no")
    if "grace" not in found:
        raise _refused("implicit_negative", dict(found), "a mapping such as {grace: 1d}")
    return _duration("implicit_negative.grace", found["grace"])


def _maturities(found: object, attribution: Duration, grace: Duration | None) -> tuple[Duration, ...]:
    ages = {attribution.seconds_whole: attribution}
    for at, item in enumerate(_list("maturities", found)):
        age = _duration(f"maturities[{at}]", item)
        if age > attribution:
            raise _refused(f"maturities[{at}]", str(age), f"at most the attribution window, {attribution}")
        ages[age.seconds_whole] = age
    if grace is not None:
        last = Duration(timedelta(seconds=attribution.seconds_whole + grace.seconds_whole))
        ages[last.seconds_whole] = last
    return tuple(ages[seconds] for seconds in sorted(ages))


def _slices(found: object) -> tuple[tuple[str, ...], ...]:
    crossed: dict[tuple[str, ...], None] = {}
    for at, item in enumerate(_list("slices", found)):
        where = f"slices[{at}]"
        names = [item] if isinstance(item, str) else list(_list(where, item))
        for name in names:
            if not isinstance(name, str) or not _FIELD.fullmatch(name):
                raise _refused(where, name, "the name of a field: letters, digits and _, a letter first")
            if name in RESERVED_FIELDS:
                message = f"{name!r} is a name of our own and no slice; version and variant split values under by:."
                raise ConfigurationError(message, where)
        if not names or len(set(names)) < len(names):
            raise _refused(where, item, "a field, or a list of different fields")
        crossed[tuple(sorted(names))] = None
    return tuple(crossed)


def _labels(found: object) -> LabelFiles:
    if isinstance(found, LabelFiles):
        return replace(found)
    if not isinstance(found, Mapping):
        raise _refused("labels", found, "a mapping such as {path: labels/*.parquet, label: late, received_at: landed_at}")
    names = {each.name for each in fields(LabelFiles)}
    _check_names("labels", found, names)
    if "path" not in found:
        raise _refused("labels", dict(found), "a path: of files with labels")
    for name, value in found.items():
        if value is not None:
            _path(f"labels.{name}", value)
    return LabelFiles(**{name: _path(f"labels.{name}", value) for name, value in found.items() if value is not None})


def _ledger(found: object) -> str:
    url = _text("ledger", found)

    def fill(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            message = f"the environment variable {match[1]} is not set. Set it; a secret does not belong in this file."
            raise ConfigurationError(message, "ledger")
        return os.environ[match[1]]

    url = _VARIABLE.sub(fill, url)
    if not url.startswith(("sqlite:///", "postgresql")) or url.endswith(":///"):
        raise _refused("ledger", found, "a URL such as sqlite:///data/ledger.db or postgresql+psycopg://user@host/name")
    return url


def _measures(found: object, task: str) -> tuple[Measure, ...]:
    measures: dict[str, Measure] = {}
    for at, item in enumerate(_list("measures", found)):
        where = f"measures[{at}]"
        measure = _measure(where, item, task)
        if measure.name in measures:
            message = f"{measure.name!r} is there twice; give one of them another name."
            raise ConfigurationError(message, where)
        measures[measure.name] = measure
    if not measures:
        message = f"there is no measure. Fit for a {task} task: {', '.join(measures_for(task))}."
        raise ConfigurationError(message, "measures")
    return tuple(measures.values())


def _measure(where: str, found: object, task: str) -> Measure:
    if isinstance(found, Measure):
        return found
    if isinstance(found, Mapping):
        return _custom(where, found)
    built_in = measures_for(task)
    if not isinstance(found, str) or found not in built_in:
        hint = suggest(found, built_in) if isinstance(found, str) else ""
        message = f"{found!r} is no measure of a {task} task. {hint}"
        raise ConfigurationError(message, where)
    return built_in[found]


def _custom(where: str, found: Mapping[str, Any]) -> Measure:
    _check_names(where, found, {"name", "unit", "description", "direction", "rows", *_FORMS})
    forms = [form for form in _FORMS if form in found]
    if len(forms) != 1:
        raise _refused(where, sorted(found), f"a name, a unit, a description and one of {', '.join(_FORMS)}")
    for required in ("name", "unit", "description"):
        if required not in found:
            message = f"{required!r} is missing: dashboards show it."
            raise ConfigurationError(message, where)
        if not isinstance(found[required], str):
            raise _refused(f"{where}.{required}", found[required], 'a text; a unit of 1 is written in quotes, "1"')
    facts = {name: value for name, value in found.items() if name not in _FORMS}
    try:
        return _formed(where, forms[0], found[forms[0]], facts)
    except ExpressionError as error:
        raise ConfigurationError(str(error), f"{where}.{forms[0]}") from error
    except ConfigurationError as error:
        inner = error.where if error.where.startswith(where) else f"{where}.{error.where}".rstrip(".")
        raise ConfigurationError(error.message, inner) from error


def _formed(where: str, form: str, expression: Any, facts: dict[str, Any]) -> Measure:
    if form == "ratio":
        if not isinstance(expression, Mapping) or set(expression) != {"numerator", "denominator"}:
            raise _refused(f"{where}.ratio", expression, "a mapping with numerator and denominator")
        above, below = (_expression(f"{where}.ratio.{part}", expression[part]) for part in ("numerator", "denominator"))
        return ratio_measure(**facts, numerator=above, denominator=below)
    make = sum_measure if form == "sum" else mean_measure
    return make(**facts, expression=_expression(f"{where}.{form}", expression))


def _expression(where: str, found: object) -> Any:
    if isinstance(found, (bool, int, float)):
        return str(found)
    if isinstance(found, Sequence) and not isinstance(found, str):
        raise _refused(where, found, "an expression")
    return found
