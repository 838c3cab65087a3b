"""YAML that remembers where each value stood, so that an error can name the line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from otel_ml_metrics.errors import ConfigurationError

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
    lines: dict[str, int] = {}
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            content = None if node is None else _value(loader, node, "", lines, source, 0)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        message = f"this is no YAML: {problem.problem or problem}"
        raise ConfigurationError(message, source=source, line=mark.line + 1 if mark else None) from problem
    except (yaml.YAMLError, UnicodeError) as problem:
        message = f"this is no YAML: {problem}"
        raise ConfigurationError(message, source=source) from problem
    return YamlSource(path, content, lines)


def _value(loader: yaml.SafeLoader, node: yaml.Node, where: str, lines: dict[str, int], source: str, depth: int) -> Any:  # noqa: PLR0913 - one recursive walk
    line = node.start_mark.line + 1
    lines.setdefault(where, line)
    if depth > MAX_DEPTH:
        message = "the file is nested too deeply."
        raise ConfigurationError(message, where, source, line)
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, item, f"{where}[{i}]", lines, source, depth + 1) for i, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return loader.construct_object(node)  # type: ignore[no-untyped-call]  # types-PyYAML leaves it untyped
    content: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(loader.construct_object(key_node))  # type: ignore[no-untyped-call]  # as above
        place = f"{where}.{key}" if where else key
        if key in content:
            message = f"{key!r} is said twice; say it once."
            raise ConfigurationError(message, place, source, key_node.start_mark.line + 1)
        lines[place] = key_node.start_mark.line + 1
        content[key] = _value(loader, value_node, place, lines, source, depth + 1)
    return content
