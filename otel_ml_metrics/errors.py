"""The errors of the package, grouped by what the caller does next.

OtelMLMetricsError
├── fix the call
│   ├── BatchShapeError (ValueError)       columns of one batch differ in length
│   ├── FieldError (ValueError)            a field is unknown, reserved or of the wrong type
│   ├── InstantError (ValueError)          an instant has no time zone
│   └── ExpressionError (ValueError)       a row expression cannot be read or does not fit its columns
├── fix the settings
│   ├── ConfigurationError (ValueError)    monitoring.yaml, or its code twin, says something impossible
│   ├── EndpointError (ValueError)         the OTLP endpoint cannot be used as it is written
│   ├── LogError (OSError)                 the prediction log cannot be read or written
│   ├── LabelSourceError (ValueError)      a label source cannot be read as it is declared
│   ├── LedgerError (OSError)              the ledger cannot be opened, read or written
│   ├── LedgerMismatchError (ValueError)   the ledger belongs to another evaluation or definition
│   ├── EngineError (RuntimeError)         the SQL engine refused a statement or a file
│   └── OverflowedSumError (OverflowError) a sum left the range in which it is exact
├── install an extra
│   └── MissingExtraError (ImportError)    an optional dependency is not installed
└── retry
    ├── LogBusyError (TimeoutError)        another process maintains the prediction log
    ├── LedgerBusyError (TimeoutError)     another run holds the ledger
    ├── LedgerLostError (ConnectionError)  the connection to the ledger was lost
    └── LedgerMovedError (RuntimeError)    another run committed while this one was reading

Every error keeps its fields in `args`, so that it survives pickling: Prefect moves errors between processes.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def suggest(name: str, known: Iterable[str]) -> str:
    """Say which known names would have worked, the nearest first; empty where there are none."""
    names = sorted(known)
    if not names:
        return ""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(repr(found) for found in near)}?"
    return f"Known are: {', '.join(names)}."


class OtelMLMetricsError(Exception):
    """Base of everything that the package raises on purpose."""


class BatchShapeError(OtelMLMetricsError, ValueError):
    """Columns of one batch do not describe the same rows."""

    def __init__(self, lengths: Mapping[str, int]) -> None:
        super().__init__(dict(lengths))
        self.lengths = dict(lengths)

    def __str__(self) -> str:
        shown = ", ".join(f"{name} has {length}" for name, length in self.lengths.items())
        advice = "Pass columns of equal length; a scalar is repeated for you."
        return f"Every column needs one value per row, but {shown}. {advice}"


class _ToldError(OtelMLMetricsError):
    """An error whose message is written where it is raised: what was found, what was expected, what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class FieldError(_ToldError, ValueError):
    """A field of a prediction is unknown, reserved or of the wrong type."""


class InstantError(_ToldError, ValueError):
    """An instant has no time zone, so it names no moment."""


class ExpressionError(_ToldError, ValueError):
    """A row expression cannot be read, or does not fit the columns it is used on."""


class ConfigurationError(OtelMLMetricsError, ValueError):
    """The evaluation that monitoring.yaml (or its code twin) describes cannot be run.

    Args:
        message: What was found, what was expected and what to do.
        where: The place, such as `measures[2].unit`; empty for the whole.
        source: The file, where there is one.
        line: 1-based line in the file, where it is known.
    """

    def __init__(self, message: str, where: str = "", source: str = "", line: int | None = None) -> None:
        super().__init__(message, where, source, line)
        self.message = message
        self.where = where
        self.source = source
        self.line = line

    def __str__(self) -> str:
        place = ":".join(part for part in (self.source, str(self.line) if self.line else "") if part)
        return ": ".join(part for part in (place, self.where, self.message) if part)


class EndpointError(_ToldError, ValueError):
    """The OTLP endpoint cannot be used as it is written."""


class LogError(_ToldError, OSError):
    """The prediction log cannot be read or written."""


class LabelSourceError(_ToldError, ValueError):
    """A label source cannot be read as it is declared."""


class LedgerError(_ToldError, OSError):
    """The ledger cannot be opened, read or written."""


class LedgerMismatchError(_ToldError, ValueError):
    """The ledger belongs to another evaluation, or to another definition of this one."""


class EngineError(_ToldError, RuntimeError):
    """The SQL engine refused a statement or a file."""


class OverflowedSumError(_ToldError, OverflowError):
    """A sum left the range in which it is exact."""


class MissingExtraError(OtelMLMetricsError, ImportError):
    """An optional dependency is not installed.

    Args:
        package: What could not be imported.
        extra: The extra of otel-ml-metrics that brings it.
        purpose: What it is needed for.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(package, extra, purpose)
        self.package = package
        self.extra = extra
        self.purpose = purpose

    def __str__(self) -> str:
        advice = f"Run: pip install 'otel-ml-metrics[{self.extra}]'"
        return f"{self.purpose} needs {self.package}, which is not installed. {advice}"


class LogBusyError(_ToldError, TimeoutError):
    """Another process maintains the prediction log; run again later."""


class LedgerBusyError(_ToldError, TimeoutError):
    """Another run holds the ledger; nothing was changed, run again later."""


class LedgerLostError(_ToldError, ConnectionError):
    """The connection to the ledger was lost; a commit stands there whole or not at all, run again."""


class LedgerMovedError(_ToldError, RuntimeError):
    """Another run committed while this one was reading; nothing was changed, run again."""
