"""An export is files that any tool reads, and all of one moment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pytest
from pyarrow import parquet

from otel_ml_metrics.attribution.tables import values
from otel_ml_metrics.auditor import Auditor
from otel_ml_metrics.errors import LedgerError
from tests.evaluation.material import DAY, HOUR, START, Fact, Prediction, World, at, us

if TYPE_CHECKING:
    from pathlib import Path

LAST = START + 9 * DAY


@pytest.fixture
def exported(world: World, tmp_path: Path) -> Path:
    """The files of a ledger that two days of predictions with labels went into."""
    for day in range(2):
        world.log([Prediction(id=f"p-{day}", predicted_at=START + day * DAY)])
        world.label([Fact(id=f"p-{day}", label=day == 0, received_at=START + day * DAY + HOUR)])
    world.log([Prediction(id="p-0", predicted_at=START + HOUR)])
    world.label([Fact(id="nobody", received_at=LAST - HOUR)])
    with Auditor(world.evaluation(measures=["accuracy"], maturities=["6h"]), environ={}) as auditor:
        auditor.run(as_of=START + 2 * DAY)
        auditor.run(as_of=LAST)
        auditor.export(tmp_path / "files")
    return tmp_path / "files"


def test_every_file_is_named_in_the_manifest(exported: Path) -> None:
    """With its rows and what they are."""
    manifest = json.loads((exported / "ledger.json").read_text())

    assert {path.name for path in exported.iterdir()} == {*manifest["files"], "ledger.json"}
    for name, told in manifest["files"].items():
        assert told["rows"] == parquet.read_metadata(exported / name).num_rows, name
        assert told["what"]
    assert (manifest["head"]["version"], manifest["head"]["name"]) == (2, "flight-delay/flight-delay")
    assert manifest["head"]["totals"]["labels"]["matched"] == 2


def test_sums_are_in_long_form_with_instants_and_whole_numbers(exported: Path) -> None:
    """Any engine adds them up."""
    query = "SELECT tile_start, sum(value)::INT FROM sums WHERE sum = 'predictions' GROUP BY ALL ORDER BY ALL"
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = 'UTC'; CREATE VIEW sums AS FROM '{exported}/sums.parquet'")
        found = connection.execute(query).fetchall()

    assert [(us(start), count) for start, count in found] == [(us(START), 1), (us(START + DAY), 1)]
    assert parquet.read_schema(exported / "sums.parquet").field("value").type == pa.decimal128(38, 0)


def test_labels_say_when_they_were_received(exported: Path) -> None:
    """Applied ones and waiting ones."""
    applied = parquet.read_table(exported / "labels.parquet").sort_by("prediction_id")
    waiting = parquet.read_table(exported / "waiting_labels.parquet")

    assert values(applied, "prediction_id") == ["p-0", "p-1"]
    assert values(applied, "received_at") == [at(us(START + HOUR)), at(us(START + DAY + HOUR))]
    assert values(applied, "date") == ["2013-04-08", "2013-04-09"]
    assert values(waiting, "prediction_id") == ["nobody"]


def test_history_runs_inputs_and_outbox_are_there(exported: Path) -> None:
    """Everything else that the ledger knows."""
    history = parquet.read_table(exported / "history.parquet")
    lost = parquet.read_table(exported / "repeated_predictions.parquet")
    runs = parquet.read_table(exported / "runs.parquet")
    inputs = parquet.read_table(exported / "inputs.parquet")
    outbox = parquet.read_table(exported / "outbox.parquet")
    movements = parquet.read_table(exported / "movements.parquet")

    assert {(row["window_start"], row["maturity"], row["value"]) for row in history.to_pylist()} == {
        (START, "6h", 1.0), (START, "1d", 1.0), (START + DAY, "6h", 0.0), (START + DAY, "1d", 0.0)
    }  # fmt: skip
    assert values(lost, "prediction_id") == ["p-0"]
    assert values(runs, "as_of") == [START + 2 * DAY, LAST]
    assert sorted(values(inputs, "kind")) == ["label"] * 3 + ["segment"] * 3
    assert {json.loads(point)["metric"] for point in values(outbox, "point")} > {"ml.labels"}
    assert sum(values(movements, "predictions")) == 2


def test_a_folder_that_holds_anything_is_refused(world: World, exported: Path) -> None:
    """Two exports mixed would be neither."""
    evaluation = world.evaluation(measures=["accuracy"], maturities=["6h"])

    with Auditor(evaluation, environ={}) as auditor, pytest.raises(LedgerError, match=r"holds .* already"):
        auditor.export(exported)


def test_an_empty_ledger_has_empty_files(world: World, tmp_path: Path) -> None:
    """With the columns that they are going to have."""
    with Auditor(world.evaluation(), environ={}) as auditor:
        files = auditor.export(tmp_path / "files")

    assert [parquet.read_metadata(path).num_rows for path in files[:-1]] == [0] * (len(files) - 1)
    assert "tile_start" in parquet.read_schema(tmp_path / "files" / "sums.parquet").names
