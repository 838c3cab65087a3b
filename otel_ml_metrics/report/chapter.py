"""One output of a model with the versions and variants that are drawn of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

from otel_ml_metrics.charts.arms import shown_arms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.evaluation_report import Value
    from otel_ml_metrics.measures.exact import Exact
    from otel_ml_metrics.measures.measure import Measure
    from otel_ml_metrics.spelling import Arm
    from otel_ml_metrics.survey import Pool, Survey

Place = tuple[str, "datetime", str, "Arm"]  # measure, start of the window, maturity, version and variant


@dataclass(frozen=True)
class Chapter:
    """What a survey says of one output.

    Args:
        survey: Of this output alone.
        output: Its name; None where the model has one only.
        arms: Names of the versions and variants that are shown, the first is what others are compared to.
        unshown: Names of those that are not.
        number: Of the chapter, from 1 on.
    """

    survey: Survey
    output: str | None
    arms: Mapping[Arm, str]
    unshown: Sequence[str] = ()
    number: int = 1

    @classmethod
    def of(cls, survey: Survey, output: str | None, number: int) -> Self:
        """The chapter of an output: of its arms, those that served last."""
        mine = replace(
            survey,
            values=_of(output, survey.values),
            gaps=tuple(gap for gap in survey.gaps if gap.arm[2] == output),
            pool=_pool_of(output, survey.pool),
            pairs={arms: _pool_of(output, pool) for arms, pool in survey.pairs.items() if arms[0][2] == output},
        )
        served = [(_arm(value), value.window_start) for value in mine.values]
        shown, unshown = shown_arms([*served, *((gap.arm[:2], gap.window_start) for gap in mine.gaps)])
        return cls(mine, output, shown, unshown, number)

    @property
    def evaluation(self) -> Evaluation:
        """Whose values these are."""
        return self.survey.evaluation

    @property
    def measures(self) -> tuple[Measure | Exact, ...]:
        """All measures, as they are declared."""
        return self.evaluation.all_measures

    @cached_property
    def maturities(self) -> list[str]:
        """The ages, ascending."""
        return [str(each) for each in self.evaluation.maturities]

    @cached_property
    def last(self) -> str:
        """The age at which a window is complete."""
        return self.maturities[-1]

    @property
    def suffix(self) -> str:
        """What tells headings of this chapter from those of others."""
        return "" if self.output is None else f" of {self.output}"

    @property
    def key(self) -> str:
        """The same for anchors, which hold no names of users."""
        return "" if self.output is None else f"-{self.number}"

    @cached_property
    def values(self) -> dict[Place, Value]:
        """The values of all rows, by what they are of."""
        return {(each.measure, each.window_start, each.maturity, _arm(each)): each for each in self.survey.values}

    @cached_property
    def gaps(self) -> dict[Place, str]:
        """Why there is no value."""
        return {(gap.measure, gap.window_start, gap.maturity, gap.arm[:2]): gap.reason for gap in self.survey.gaps}

    def heading(self, what: str, arm: Arm) -> str:
        """A heading of an arm, which needs no name where it is alone."""
        return what if len(self.arms) == 1 else f"{self.arms[arm]}: {what}"


def _arm(value: Value) -> Arm:
    return value.version, value.variant


def _of(output: str | None, values: Iterable[Value]) -> tuple[Value, ...]:
    return tuple(value for value in values if value.output == output)


def _pool_of(output: str | None, pool: Pool) -> Pool:
    return replace(
        pool,
        values=_of(output, pool.values),
        gaps=tuple(gap for gap in pool.gaps if gap.arm[2] == output),
        reliability=pool.reliability
        if isinstance(pool.reliability, str)
        else tuple(each for each in pool.reliability if each.output == output),
        scores=pool.scores
        if isinstance(pool.scores, str)
        else tuple(each for each in pool.scores if each.output == output),
    )
