"""What Grafana does with a dashboard before it asks Prometheus: it finds choices for variables and puts them in."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

ALL: Final = "$__all"
BUILT_IN: Final = {"__rate_interval": "5m"}

_USED: Final = re.compile(r"\$\{(?P<long>\w+)(?::(?P<form>\w+))?\}|\$(?P<short>\w+)")
_LABEL_VALUES: Final = re.compile(r"label_values\((?P<selector>.+), (?P<label>[^,]+)\)")


class LabelSource(Protocol):
    """Where labels and their values are asked for."""

    def label_values(self, label: str, selector: str) -> list[str]:
        """Values of a label among the selected series, sorted."""
        ...

    def label_names(self) -> list[str]:
        """Names of all labels, sorted."""
        ...


@dataclass(frozen=True)
class Expression:
    """One expression of a panel, as Grafana would send it.

    Args:
        place: Dashboard, panel and target.
        text: PromQL.
    """

    place: str
    text: str


@dataclass
class Viewer:
    """Somebody who opens a dashboard.

    Args:
        source: Prometheus.
        wanted: What they choose instead of the default, by variable.
    """

    source: LabelSource
    wanted: Mapping[str, str] = field(default_factory=dict)

    def expressions(self, board: Mapping[str, Any]) -> list[Expression]:
        """Every expression of the dashboard, with every variable in its place."""
        chosen = self.choices(board)
        return [Expression(f"{board['uid']}: {place}", filled(text, chosen)) for place, text in targets_of(board)]

    def choices(self, board: Mapping[str, Any]) -> dict[str, str | list[str]]:
        """The value, or the values, of each variable."""
        chosen: dict[str, str | list[str]] = dict(BUILT_IN)
        for variable in board["templating"]["list"]:
            chosen[variable["name"]] = self._choice(variable, chosen)
        return chosen

    def _choice(self, variable: Mapping[str, Any], chosen: Mapping[str, str | list[str]]) -> str | list[str]:
        if variable["type"] == "datasource":
            return "prometheus"
        if variable["type"] == "custom":
            listed = {option["text"]: option["value"] for option in variable["options"]}
            return str(listed.get(self.wanted.get(variable["name"], ""), variable["current"]["value"]))
        found = self._asked(variable, chosen)
        wanted = self.wanted.get(variable["name"], variable.get("current", {}).get("value", ""))
        if wanted == ALL:
            return variable.get("allValue", found)  # type: ignore[no-any-return]  # a text
        return wanted if wanted in found else next(iter(found), "")

    def _asked(self, variable: Mapping[str, Any], chosen: Mapping[str, str | list[str]]) -> list[str]:
        query = filled(variable["query"]["query"], chosen)
        asked = _LABEL_VALUES.fullmatch(query)
        found = self.source.label_values(asked["label"], asked["selector"]) if asked else self.source.label_names()
        return [value for each in found if (value := _matched(variable.get("regex", ""), each)) is not None]


def boards_in(files: Mapping[str, str]) -> dict[str, Any]:
    """The dashboards among the files of a set, by their name."""
    return {
        PurePosixPath(path).stem: json.loads(text) for path, text in files.items() if path.startswith("dashboards/")
    }


def panels_of(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel, those in closed rows too."""
    for panel in board["panels"]:
        if panel["type"] != "row":
            yield panel
        yield from panel.get("panels", ())


def targets_of(board: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Panel and target, and the expression with its variables."""
    return [
        (f"{panel['title']} {target['refId']}", target["expr"])
        for panel in panels_of(board)
        for target in panel["targets"]
    ]


def variables_in(text: str) -> set[str]:
    """Names of the variables that a text uses."""
    return {used["long"] or used["short"] for used in _USED.finditer(text)}


def filled(text: str, chosen: Mapping[str, str | list[str]]) -> str:
    """The text with the values of variables in their place."""

    def value(used: re.Match[str]) -> str:
        found = chosen[used["long"] or used["short"]]
        return _FORMS[used["form"] or "regex"]([found] if isinstance(found, str) else found)

    return _USED.sub(value, text)


def _matched(pattern: str, text: str) -> str | None:
    if not pattern:
        return text
    found = re.search(pattern.strip("/").replace("(?<", "(?P<"), text)
    return found and (found.groupdict().get("value") or text)


def _regex(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"({'|'.join(values)})"


def _doublequote(values: Sequence[str]) -> str:
    return ",".join(f'"{value}"' for value in values)


_FORMS: Final[Mapping[str, Callable[[Sequence[str]], str]]] = {"regex": _regex, "doublequote": _doublequote}
