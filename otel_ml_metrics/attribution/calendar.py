"""Windows, tiles and maturities: which values may be given as of an instant. Whole microseconds, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otel_ml_metrics.instants import EPOCH, floor_us, to_us

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.instants import Duration


@dataclass(frozen=True)
class Judgement:
    """One window judged at one maturity.

    Args:
        window_us: Start of the window.
        maturity: Age at which its predictions are judged.
        until_us: Predictions made before this instant are old enough: the window's end if it is final.
        is_final: Whether the whole window is.
    """

    window_us: int
    maturity: Duration
    until_us: int
    is_final: bool


@dataclass(frozen=True)
class Calendar:
    """The windows of an evaluation, half-open, aligned to the epoch plus an offset.

    Args:
        window_us: Length of a window.
        offset_us: Shift against the epoch.
        tile_us: Length of a tile, which divides the window.
        maturities: Ascending; the last one is the horizon.
        provisional: Whether windows that are not final yet are judged by their mature tiles.
    """

    window_us: int
    offset_us: int
    tile_us: int
    maturities: tuple[Duration, ...]
    provisional: bool = False

    @classmethod
    def of(cls, evaluation: Evaluation) -> Calendar:
        """The calendar that an evaluation declares."""
        return cls(
            window_us=evaluation.window.us,
            offset_us=to_us(EPOCH + evaluation.window_offset),
            tile_us=to_us(EPOCH + evaluation.tile),
            maturities=evaluation.maturities,
            provisional=evaluation.provisional,
        )

    def window_of(self, instant_us: int) -> int:
        """Start of the window that holds an instant."""
        return floor_us(instant_us, step_us=self.window_us, offset_us=self.offset_us)

    def end_of(self, window_us: int) -> int:
        """End of a window, not included."""
        return window_us + self.window_us

    def judgements(self, windows: Iterable[int], *, as_of_us: int) -> Iterator[Judgement]:
        """Every window at every maturity at which it may be judged as of an instant, oldest first."""
        for window in sorted(windows):
            for maturity in self.maturities:
                judgement = self.judgement(window, maturity, as_of_us=as_of_us)
                if judgement is not None:
                    yield judgement

    def final(self, windows: Iterable[int], *, as_of_us: int) -> list[Judgement]:
        """Every window at every maturity at which it is final as of an instant, oldest first."""
        return [each for each in self.judgements(windows, as_of_us=as_of_us) if each.is_final]

    def judgement(self, window_us: int, maturity: Duration, *, as_of_us: int) -> Judgement | None:
        """One window at one maturity; None while nothing of it is old enough (or asked for before all of it is)."""
        end, mature = self.end_of(window_us), as_of_us - maturity.us
        if end <= mature:
            return Judgement(window_us, maturity, end, is_final=True)
        until = floor_us(mature, step_us=self.tile_us, offset_us=self.offset_us)
        if self.provisional and until > window_us:
            return Judgement(window_us, maturity, until, is_final=False)
        return None

    def newest(self, maturity: Duration, *, as_of_us: int) -> int:
        """Start of the newest window that is final at a maturity."""
        return self.window_of(as_of_us - maturity.us) - self.window_us
