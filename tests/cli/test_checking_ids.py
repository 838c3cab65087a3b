"""The command `check` on labels that can be read, and whether they name predictions that were logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.cli.test_checking import lines_of

if TYPE_CHECKING:
    from tests.cli.conftest import Run
    from tests.flows.material import Material

pytestmark = pytest.mark.usefixtures("receiver")


def number_ids(material: Material, *, besides: int = 0) -> None:
    """Let the labels name orders of the shop in place of predictions; `besides` of them keep their id."""
    path = material.folder / "labels" / "landed.parquet"
    table = parquet.read_table(path)
    kept = table.column("prediction_id").to_pylist()[:besides]
    ids = pa.array(kept + [f"order-{row}" for row in range(besides, len(table))])
    at = table.schema.get_field_index("prediction_id")
    parquet.write_table(table.set_column(at, "prediction_id", ids), path)


def test_ids_that_no_prediction_has_are_told_with_one_of_each_side(material: Material, run: Run) -> None:
    """Labels with an id of the shop's own are read without complaint, and would match nothing for ever."""
    number_ids(material)

    done = run("check", material.monitoring)

    (told,) = [line for line in lines_of(done.stdout, "warn") if "ids" in line]
    assert "none of the newest 192 labelled ids is logged: labels say 'order-0', the log '013" in told
    assert "labels.id is 'prediction_id'" in done.stdout


def test_some_ids_that_match_are_enough(material: Material, run: Run) -> None:
    """Labels of other systems may lie among ours."""
    number_ids(material, besides=5)

    done = run("check", material.monitoring)

    assert "5 of the newest 192 labelled ids are logged" in "".join(lines_of(done.stdout, "ok"))


def test_a_pattern_that_matches_nothing_tells_what_is_there(material: Material, run: Run) -> None:
    """The usual reason is an ending, or a folder too few."""
    known = material.monitoring.read_text(encoding="utf-8")
    material.monitoring.write_text(known.replace("labels/*.parquet", "labels/*.csv"), encoding="utf-8")

    done = run("check", material.monitoring)

    assert "no file is there yet" in "".join(lines_of(done.stdout, "warn"))
    assert "labels has landed.parquet: if labels are among them, mend labels.path" in done.stdout
