"""Files of a test, put where it asks for them."""

from __future__ import annotations

from functools import partial
from typing import IO, TYPE_CHECKING

from otel_ml_metrics.storage.files import storage_of

if TYPE_CHECKING:
    from tests.evaluation.material import World


def fill(content: bytes, file: IO[bytes]) -> None:
    """Write some content."""
    file.write(content)


def put(path: str, content: bytes = b"content") -> None:
    """Write a file."""
    storage_of(path).write(path, partial(fill, content))


def upload(world: World, bucket: str) -> None:
    """Put every file of a world that is not there yet into a bucket."""
    for folder in ("predictions", "labels"):
        for path in sorted((world.folder / folder).rglob("*.*")):
            url = f"{bucket}/{path.relative_to(world.folder).as_posix()}"
            if path.is_file() and storage_of(url).stat(url) is None:
                put(url, path.read_bytes())
