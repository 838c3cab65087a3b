"""How far a foreign log was taken over, in one small file that is replaced at once: the only commit point.

A stretch of the foreign log is written under hidden names, durable, before the file says that it was taken; the file
names the hidden files that have yet to be shown, and then they are given their names. Whoever dies before that point
leaves hidden files, which the next import removes; whoever dies after it leaves some hidden that the next one shows. So
every stretch is there once, and what is shown is never taken back.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

from otel_ml_metrics.errors import LogBusyError, LogError
from otel_ml_metrics.prediction_log.layout import DATE_KEY, date_folder, model_folder
from otel_ml_metrics.storage.files import LocalStorage, sync_folder
from otel_ml_metrics.storage.locks import file_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PROGRESS: Final = "import.json"
LOCK: Final = ".import.lock"
HIDDEN: Final = ".import-"
SCHEMA: Final = 1
PATIENCE: Final = 60.0
"""Seconds to wait for another import."""


@dataclass
class Progress:
    """What was taken over.

    Args:
        settings: What it was taken over under; another mapping would mix two logs.
        columns: Fields that are carried over, and what each holds; those that are no longer needed stay.
        stretches: How many stretches of the foreign log were.
        files: Of files: stamp and fingerprint of each, by name.
        table: Of a table: how its past looked, as text; None where nothing was taken yet.
        to_show: Hidden files of the last stretch, and the names that they are given; paths below the model's folder.
    """

    settings: dict[str, Any]
    columns: dict[str, str]
    stretches: int = 0
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    table: str | None = None
    to_show: dict[str, str] = field(default_factory=dict)


class ImportFolder:
    """A model's folder in the log of ours that a foreign one is taken over into.

    Args:
        log: Folder of the log; made if it is not there.
        model: Name of the model.
        patience: Seconds to wait for another import.
    """

    def __init__(self, log: str, model: str, *, patience: float = PATIENCE) -> None:
        self.path = Path(model_folder(log, model))
        self._storage = LocalStorage()
        self._patience = patience

    @contextmanager
    def alone(self) -> Iterator[Self]:
        """Keep other imports out; the lock dies with its process.

        Raises:
            LogBusyError: Another import is under way for longer than the patience.
            LogError: The folder cannot be written to.
        """
        with ExitStack() as held:
            with self._told():
                self.path.mkdir(parents=True, exist_ok=True)
                is_alone = held.enter_context(file_lock(self.path / LOCK, patience=self._patience))
            if not is_alone:
                message = f"Another run takes predictions over into {self.path}; nothing was changed. Run later."
                raise LogBusyError(message)
            with self._told():
                yield self

    def recover(self) -> Progress | None:
        """Show what was taken and is hidden still, remove what was not taken; the progress, if there is any."""
        progress = self._read()
        if progress is not None:
            self._show(progress.to_show)
        for hidden in self.path.glob(f"{DATE_KEY}=*/{HIDDEN}*"):
            hidden.unlink()
        return progress

    def write(self, path: str, fill: Callable[[IO[bytes]], None]) -> None:
        """Write a file below the folder, durable."""
        self._storage.write(str(self.path / path), fill)

    def commit(self, progress: Progress) -> None:
        """Note that stretches were taken over; from here on they are."""
        text = json.dumps({"schema": SCHEMA, **asdict(progress)}, indent=1).encode()

        def fill(file: IO[bytes]) -> None:
            file.write(text)

        self.write(PROGRESS, fill)

    def show(self, progress: Progress) -> None:
        """Give the hidden files of what was committed their names."""
        self._show(progress.to_show)

    def _show(self, names: Mapping[str, str]) -> None:
        for hidden, shown in names.items():
            if (self.path / hidden).exists():
                (self.path / hidden).rename(self.path / shown)
        for folder in sorted({(self.path / shown).parent for shown in names.values()}):
            if folder.is_dir():  # it may have been retired since
                sync_folder(folder)

    def _read(self) -> Progress | None:
        path = self.path / PROGRESS
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_bytes())
            if content.pop("schema") != SCHEMA:
                message = f"{path} was written by another version of otel-ml-metrics. Use that one, or a new folder."
                raise LogError(message)
            files = {name: (stamp, fingerprint) for name, (stamp, fingerprint) in content["files"].items()}
            return Progress(**content | {"files": files})
        except (ValueError, KeyError, TypeError) as error:
            message = f"{path} is no progress of an import: {error}. Bring it back, or name a new folder under into:."
            raise LogError(message) from error

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Name the folder in what goes wrong with it."""
        try:
            yield
        except (LogError, LogBusyError):
            raise
        except OSError as error:
            message = (
                f"Predictions cannot be taken over into {self.path}: {error}. Give it room and the user that evaluates"
                " the right to write, or name another folder under predictions: into:."
            )
            raise LogError(message) from error


def hidden_name(stretch: int, date: str, part: int) -> str:
    """Where a part of a stretch is written first, below the model's folder."""
    return f"{date_folder('', date)[1:]}/{HIDDEN}{stretch:08d}-{date.replace('-', '')}-{part}"


def shown_name(stretch: int, date: str, part: int) -> str:
    """The segment that it becomes.

    >>> shown_name(12, "2013-04-09", 0)
    'dt=2013-04-09/s-import-00000012-20130409-0.parquet'
    """
    return f"{date_folder('', date)[1:]}/s-import-{stretch:08d}-{date.replace('-', '')}-{part}.parquet"
