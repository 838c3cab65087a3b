"""One model's folder as the process that keeps it in order sees it: what is live, and the manifest, to be replaced."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

from otel_ml_metrics.errors import ConfigurationError, LogBusyError, LogError
from otel_ml_metrics.prediction_log.layout import date_of_file, model_folder
from otel_ml_metrics.prediction_log.manifest import MANIFEST, Manifest, manifest_text, parse_manifest
from otel_ml_metrics.prediction_log.reader import is_segment
from otel_ml_metrics.storage.files import storage_of
from otel_ml_metrics.storage.locations import is_url
from otel_ml_metrics.storage.locks import file_lock

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from otel_ml_metrics.storage.files import Storage, StoredFile

GRACE_SECONDS: Final = 3_600.0
"""How long superseded files stay, by default."""

LEAST_REMOTE_GRACE: Final = 600.0
LOCK: Final = ".maintenance.lock"


class ModelFolder:
    """The folder of one model in a log.

    Args:
        log: Folder or URL of the log.
        model: Name of the model.
        grace: Seconds that superseded files stay.
        clock: Gives Unix seconds.
        storage: Where the log is; default: what its location says.

    Raises:
        ConfigurationError: The grace is too short for an object store.
        LogError: The log cannot be read.
    """

    def __init__(
        self,
        log: str | os.PathLike[str],
        model: str,
        *,
        grace: float = GRACE_SECONDS,
        clock: Callable[[], float] = time.time,
        storage: Storage | None = None,
    ) -> None:
        self.path = model_folder(log, model)
        self.grace = grace
        self._clock = clock
        if is_url(self.path) and grace < LEAST_REMOTE_GRACE:
            message = (
                f"superseded files of a log in an object store have to stay for {LEAST_REMOTE_GRACE:g} s at least,"
                f" found {grace:g} s: nothing but that time keeps two processes apart there."
            )
            raise ConfigurationError(message, "grace")
        with self.told():
            self.storage = storage_of(self.path) if storage is None else storage
            self.reload()

    @property
    def now(self) -> float:
        """Unix seconds."""
        return self._clock()

    @property
    def manifest(self) -> Manifest:
        """The manifest as it was last read or published."""
        return self._manifest

    @contextmanager
    def alone(self) -> Iterator[Self]:
        """Keep other processes out, where there are locks; the lock dies with its process.

        Raises:
            LogBusyError: Another process is at it.
        """
        if is_url(self.path) or not Path(self.path).is_dir():
            yield self
            return
        with ExitStack() as held:
            with self.told():
                is_alone = held.enter_context(file_lock(Path(self.path, LOCK)))
            if not is_alone:
                raise self._busy()
            self.reload()
            yield self

    def name_of(self, file: StoredFile) -> str:
        """Path of a file below the folder."""
        return file.path.removeprefix(f"{self.path}/")

    def listed(self) -> dict[str, StoredFile]:
        """Every file that is there, by its path below the folder."""
        with self.told():
            return {self.name_of(file): file for file in self.storage.files(self.path)}

    def live(self, *, before: str | None = None) -> dict[str, StoredFile]:
        """Segments that belong to the log and that no compacted file holds, by path below the folder.

        Args:
            before: Only those of dates before this one.
        """
        absorbed, leaving = self._manifest.absorbed, self._manifest.leaving
        return {
            name: file
            for name, file in self.listed().items()
            if is_segment(name)
            and name.partition("/")[2] not in absorbed
            and name not in leaving
            and (before is None or date_of_file(name) < before)
        }

    def reload(self) -> None:
        """Read the manifest that is stored now."""
        with self.told():
            self._text = manifest_text(self.storage, self.path)
        self._manifest = parse_manifest(self._text, path=f"{self.path}/{MANIFEST}") if self._text else Manifest()

    def publish(self, manifest: Manifest) -> None:
        """Replace the manifest, unless somebody else did.

        Raises:
            LogBusyError: Another process has published something since it was read.
        """
        text = manifest.to_json()

        def fill(file: IO[bytes]) -> None:
            file.write(text)

        with self.told():
            if manifest_text(self.storage, self.path) != self._text:
                raise self._busy()
            self.storage.write(f"{self.path}/{MANIFEST}", fill)
        self._manifest, self._text = manifest, text

    @contextmanager
    def told(self) -> Iterator[None]:
        """Name the log in what goes wrong."""
        try:
            yield
        except (LogError, LogBusyError):
            raise
        except OSError as error:
            message = f"The prediction log {self.path} cannot be kept in order: {error}."
            raise LogError(message) from error

    def _busy(self) -> LogBusyError:
        message = f"Another process keeps the prediction log {self.path} in order; the rest is left to it."
        return LogBusyError(message)
