"""A world that goes on chapter by chapter, an hour each; every telling of it is the same."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from tests.evaluation.material import DAY, HOUR, MINUTE, START, Fact, Prediction, World, native_id
from tests.evaluation.oracle import HOUR_US, Settings

if TYPE_CHECKING:
    from datetime import datetime
    from multiprocessing.synchronize import Semaphore

SETTINGS: Final = Settings(
    window_us=6 * HOUR_US,
    attribution_us=12 * HOUR_US,
    maturities_us=(2 * HOUR_US,),
    slices=(("carrier",),),
    by=("variant",),
    measures=("accuracy", "log_loss", "fares_at_stake", "ranked_gap"),
)
AGES: Final = (0, 1, 1, 3, 8, 14)
"""How many chapters ago the predictions were made that a chapter has labels of."""

_NOW: Final = "now"


def predictions_of(chapter: int) -> list[Prediction]:
    """What is logged in a chapter: four predictions, one of them made earlier, and now and then one that was before."""
    random = Random(f"predictions {chapter}")
    rows = []
    for number in range(4):
        predicted_at = START + chapter * HOUR + 7 * number * MINUTE - (3 * HOUR if number == 3 else 0 * HOUR)
        name = native_id(predicted_at, 10 * chapter + number) if number % 2 else f"p-{chapter}-{number}"
        rows.append(
            Prediction(
                id=name,
                predicted_at=predicted_at,
                score=random.choice([0.1, 0.4, 0.8, None]),
                prediction=random.choice([True, False, None]),
                fare=random.choice([10.0, 0.1, 250.25]),
                carrier=random.choice(["UA", "B6", None]),
                variant=random.choice(["champion", "challenger"]),
            )
        )
    if chapter and not random.randrange(4):
        rows.append(predictions_of(chapter - 1)[0])
    return rows


def facts_of(chapter: int) -> list[Fact]:
    """What becomes known in a chapter: labels of all ages, revisions, duplicates, strangers, a few from later on."""
    random = Random(f"facts {chapter}")
    received_at = START + chapter * HOUR + 50 * MINUTE
    facts = [Fact(id=f"stranger-{chapter}", received_at=received_at)]
    for age in AGES:
        if age <= chapter:
            row = random.choice(predictions_of(chapter - age))
            later = random.choice([0, 0, 0, 2]) * HOUR
            facts.append(Fact(id=row.id, label=random.random() < 0.5, received_at=received_at + later))
    return [*facts, random.choice(facts)]


def tell(world: World, chapter: int) -> None:
    """Write a chapter: its predictions, its labels, and then that it is over."""
    world.log(predictions_of(chapter), name=f"{chapter:05d}")
    world.label(facts_of(chapter), name=f"{chapter:05d}")
    aside = world.folder / f".{_NOW}"
    aside.write_text(str(chapter))
    aside.rename(world.folder / _NOW)


def tell_all(folder: str, pace: Semaphore, chapters: int) -> None:
    """Write chapter after chapter, one whenever the pace allows it; in a process of its own."""
    world = World(Path(folder))
    for chapter in range(chapters):
        pace.acquire()
        tell(world, chapter)


def now(folder: Path) -> datetime:
    """The end of the newest chapter."""
    path = folder / _NOW
    return START + (1 + int(path.read_text()) if path.exists() else 0) * HOUR


def end(chapters: int) -> datetime:
    """An instant at which everything in so many chapters is final."""
    return START + chapters * HOUR + 3 * DAY
