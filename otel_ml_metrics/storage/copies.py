"""Local copies of objects, for engines that read files of the local file system.

Tried on 40 segments of 25,000 rows each (2026-11, DuckDB 2.0, an S3 server on the same machine, all columns but few
used): reading through DuckDB's own registered file systems (fsspec over pyarrow) took 12 requests per object and 3.5 to
4.2 s for each query; copying took 2 requests per object and 0.7 s once, and each query then 0.2 to 0.5 s, with row
groups pruned by several threads and no lock of Python's between them. With 20 ms to a real store the requests alone
make 5 s a query against 0.1 s once. A run asks the same segments four to eight times. A row takes about 25 bytes of
disk.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otel_ml_metrics.storage.files import storage_of
from otel_ml_metrics.storage.locations import is_url, split_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

KEEP_SECONDS: Final = 3_600.0
"""How long a copy stays that nobody asks for: longer than a statement, so that no file vanishes under one."""

CONNECTIONS: Final = 8
"""Objects that are fetched at a time."""


@dataclass
class _Copy:
    path: Path
    used_at: float


class LocalCopies:
    """Copies of immutable objects in a temporary folder of their own, which goes when they are closed, or at exit.

    An object is fetched when it is first asked for, and is taken to stay what it was until `forget`.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._copies: dict[str, _Copy] = {}

    def local(self, locations: Sequence[str]) -> list[str]:
        """A local path for each location, in the same order; paths are given back as they are.

        Raises:
            OSError: An object cannot be read, or there is no room for it.
        """
        urls = [location for location in locations if is_url(location)]
        if not urls:
            return list(locations)
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="otel-ml-metrics-"))
            self._removal = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        now = time.monotonic()
        self._drop(url for url, copy in self._copies.items() if now - copy.used_at > KEEP_SECONDS)
        missing = sorted({url for url in urls if url not in self._copies})
        with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="otel-ml-metrics-copy") as pool:
            fetched = dict(zip(missing, pool.map(partial(_fetch, self._folder), missing), strict=True))
        self._copies |= {url: _Copy(path, now) for url, path in fetched.items()}
        for url in urls:
            self._copies[url].used_at = now
        return [str(self._copies[each].path) if is_url(each) else each for each in locations]

    def url_sql(self, url: str) -> str:
        """SQL of the URL that a copy in `filename` is of, where all are of the scheme of this one."""
        scheme = url.partition("://")[0]
        return f"'{scheme}://' || substr(filename, {len(f'{self._folder}/{scheme}/') + 1})"

    def forget(self) -> None:
        """Fetch everything anew from now on; copies stay until they are replaced, for statements that name them."""
        self._copies.clear()

    def close(self) -> None:
        """Remove every copy."""
        self._copies.clear()
        if self._folder is not None:
            self._removal()
            self._folder = None

    def _drop(self, urls: Iterable[str]) -> None:
        for url in list(urls):
            self._copies.pop(url).path.unlink(missing_ok=True)


def _fetch(folder: Path, url: str) -> Path:
    path = folder.joinpath(*_parts(url))
    path.parent.mkdir(parents=True, exist_ok=True)
    storage_of(url).copy(url, path)
    return path


def _parts(url: str) -> list[str]:
    scheme, authority, rest = split_url(url)
    parts = [scheme, authority, *rest.split("/")]
    if {"", ".", ".."} & set(parts):
        message = f"{url} has an empty folder name, or one of dots, which no local file can have. Rename the object."
        raise OSError(message)
    return parts
