"""The texts of a starting project: templates with their blanks filled in, and the repository's deployment files."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.scaffold.tasks import LINES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TEMPLATES: Final = Path(__file__).with_name("project")
SHIPPED: Final = Path(__file__).with_name("shipped")
"""The repository's own deployment files. In a checkout it holds links to them, in the wheel the files themselves."""

SUFFIX: Final = ".tmpl"

_BLANK: Final = re.compile(r"<<(\w+)>>")
_REQUIRED: Final = re.compile(r"\$\{(\w+):\?([^}]*)\}")
_IMAGE: Final = frozenset({"deploy/Dockerfile", "deploy/Dockerfile.dockerignore"})
"""Of the repository, these build an image of the checkout; a project has its own."""


def project_files(*, model: str, task: str) -> dict[str, str]:
    """Write out every file of a starting project.

    Args:
        model: Name of the model.
        task: One of `LINES`.

    Returns:
        The text of each file by its path within the project, in the order of the paths.
    """
    shipped = dict(_shipped())
    words = _words(model, task) | {"passwords": _passwords(shipped["docker-compose.yml"])}
    return dict(sorted((shipped | dict(_filled(words))).items()))


def _shipped() -> Iterator[tuple[str, str]]:
    """The files of the repository; its folder examples/deploy is deploy in a project."""
    for path in _files_in(SHIPPED):
        name = path.relative_to(SHIPPED).as_posix()
        if name not in _IMAGE:
            yield name, path.read_text(encoding="utf-8").replace("examples/deploy", "deploy")


def _files_in(folder: Path) -> Iterator[Path]:
    """Every file below a folder, those behind links included."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _files_in(path)
        else:
            yield path


def _filled(words: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for path in _files_in(TEMPLATES):
        name = path.relative_to(TEMPLATES).as_posix().removesuffix(SUFFIX)
        yield name, _BLANK.sub(lambda blank: words[blank[1]], path.read_text(encoding="utf-8"))


def _words(model: str, task: str) -> dict[str, str]:
    """What stands in the blanks of the templates."""
    lines = LINES[task]
    return {
        "model": model,
        "slug": re.sub(r"[^a-z0-9_-]+", "-", model.lower()).strip("-_") or "model",
        "task": task,
        "version": version("otel-ml-metrics"),
        "label": lines.label,
        "measures": _block("  - ", lines.measures),
        "first": lines.measures[0],
        "settings": _block("", lines.settings),
        "constants": _block("", lines.constants),
        "fields": _block("    ", lines.fields),
        "features": _block("    ", tuple(f"{name}: str" for name in lines.asked)),
        "answer": _block("    ", lines.answer).rstrip("\n"),
        "recorded": lines.recorded,
        "told": lines.told,
        "request": json.dumps({"country": "NL", "amount": 250.0} | dict.fromkeys(lines.asked, "s1")),
    }


def _block(prefix: str, lines: tuple[str, ...]) -> str:
    return "".join(f"{prefix}{line}\n" for line in lines)


def _passwords(compose: str) -> str:
    """A line for each secret without which the compose file does not start, in the words that it has for them."""
    required = dict(_REQUIRED.findall(compose))
    return _block("", tuple(f"# {told}\n{name}=" for name, told in required.items()))
