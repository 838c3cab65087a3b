"""YAML that remembers where each value stood, so that an error can name the line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from otel_ml_metrics.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 30


@dataclass(frozen=True)
class YamlSource:
    """A parsed YAML file.

    Args:
        path: The file.
        content: Plain dicts, lists and scalars.
        lines: 1-based line of every place, such as `measures[2].unit`.
    """

    path: Path
    content: Any
    lines: dict[str, int] = field(default_factory=dict)

    def line_of(self, where: str) -> int | None:
        """Line of a place, or of the nearest place around it that the file has."""
        while where and where not in self.lines:
            where = where[: max(where.rfind("."), where.rfind("["), 0)]
        return self.lines.get(where)


def read_yaml(path: Path) -> YamlSource:
    """Read one YAML document with the safe types only.

    Raises:
        ConfigurationError: There is no such file, it is no YAML, or it says a key twice.
    """
    source = str(path)
    try:
        text = path.read_bytes()
    except OSError as problem:
        message = f"cannot read the file: {problem.strerror}. Give the path of a monitoring.yaml."
        raise ConfigurationError(message, source=source) from problem
    if len(text) > MAX_BYTES:
        message = f"the file has {len(text)} bytes; a monitoring.yaml has at most {MAX_BYTES}."
        raise ConfigurationError(message, source=source)
    try:
        return _parsed(path, text)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        message = f"this is no YAML: {problem.problem or problem}"
        raise ConfigurationError(message, source=source, line=mark.line + 1 if mark else None) from problem
    except (yaml.YAMLError, UnicodeError) as problem:
        message = f"this is no YAML: {problem}"
        raise ConfigurationError(message, source=source) from problem


def _parsed(path: Path, text: bytes) -> YamlSource:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        walk = _Walk(loader, str(path))
        return YamlSource(path, None if node is None else walk.value(node, "", 0), walk.lines)
    finally:
        loader.dispose()


class _Walk:
    """Turns nodes into plain values and notes the line of each."""

    def __init__(self, loader: yaml.SafeLoader, source: str) -> None:
        self._loader = loader
        self._source = source
        self.lines: dict[str, int] = {}

    def value(self, node: yaml.Node, where: str, depth: int) -> object:
        """The value of a node that stands at `where`."""
        line = node.start_mark.line + 1
        self.lines.setdefault(where, line)
        if depth > MAX_DEPTH:
            message = "the file is nested too deeply."
            raise ConfigurationError(message, where, self._source, line)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, f"{where}[{at}]", depth + 1) for at, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return self._scalar(node)
        content: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = str(self._scalar(key_node))
            place = f"{where}.{key}" if where else key
            self.lines[place] = key_node.start_mark.line + 1
            if key in content:
                message = f"{key!r} is said twice; say it once."
                raise ConfigurationError(message, place, self._source, self.lines[place])
            content[key] = self.value(value_node, place, depth + 1)
        return content

    def _scalar(self, node: yaml.Node) -> object:
        return self._loader.construct_object(node)
