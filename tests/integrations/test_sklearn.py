"""Zero code for scikit-learn: every prediction that a server asks for is counted once, and nothing else is."""

from __future__ import annotations

import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from otel_ml_metrics import ModelMonitor
from otel_ml_metrics.integrations.sklearn import SklearnInstrumentor
from otel_ml_metrics.prediction_log.layout import SEGMENT_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from otel_ml_metrics.testing import TelemetryCapture

RNG: Final = np.random.default_rng(5)
FEATURES: Final = RNG.random((60, 2))
BINARY: Final = np.where(FEATURES.sum(axis=1) > 1, "yes", "no")
THREE: Final = np.digitize(FEATURES[:, 0], [0.3, 0.7])
NUMBERS: Final = FEATURES @ [2.0, 3.0] + 1


@pytest.fixture
def instrument(telemetry: TelemetryCapture) -> Iterator[Callable[..., SklearnInstrumentor]]:
    """Turns the instrumentor on, with metrics in memory."""
    instrumentor = SklearnInstrumentor()

    def on(**settings: Any) -> SklearnInstrumentor:
        instrumentor.instrument(meter_provider=telemetry.meter_provider, **settings)
        return instrumentor

    yield on
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


def predicted(telemetry: TelemetryCapture) -> dict[str, float]:
    """How many predictions were counted, by model."""
    return telemetry.values("ml.predictions", by="ml.model.name")


def test_the_environment_names_the_model(
    telemetry: TelemetryCapture,
    instrument: Callable[..., SklearnInstrumentor],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Variables alone give a model its name, version and log."""
    monkeypatch.setenv("OTEL_ML_METRICS_MODEL", "fraud")
    monkeypatch.setenv("OTEL_ML_METRICS_VERSION", "7")
    monkeypatch.setenv("OTEL_ML_METRICS_LOG", str(tmp_path))
    model = LogisticRegression().fit(FEATURES, BINARY)
    instrument()

    scores = model.predict_proba(FEATURES[:5])

    attributes = dict(telemetry.points("ml.prediction.score")[0].attributes or {})
    assert attributes == {"ml.model.name": "fraud", "ml.model.version": "7"}
    (segment,) = tmp_path.rglob(SEGMENT_PATTERN)
    assert pq.read_table(segment, partitioning=None)["score"].to_pylist() == scores[:, 1].tolist()


def test_without_a_name_nothing_is_wrapped(instrument: Callable[..., SklearnInstrumentor]) -> None:
    """Which of a program's estimators is the model would be a guess."""
    before = LogisticRegression.predict, vars(Pipeline)["predict"]

    instrument()

    assert (LogisticRegression.predict, vars(Pipeline)["predict"]) == before


def test_a_registered_estimator_records_with_its_own_monitor(
    telemetry: TelemetryCapture, instrument: Callable[..., SklearnInstrumentor]
) -> None:
    """Several models of one process are told apart by the object that is asked."""
    fraud, churn, other = (LogisticRegression().fit(FEATURES, BINARY) for _ in range(3))
    instrumentor = instrument()
    for name, estimator in (("fraud", fraud), ("churn", churn)):
        instrumentor.register(estimator, ModelMonitor(name, meter_provider=telemetry.meter_provider))

    fraud.predict(FEATURES[:3])
    churn.predict(FEATURES[:4])
    other.predict(FEATURES[:5])

    assert predicted(telemetry) == {"fraud": 3, "churn": 4}


def test_a_binary_classifier_gives_scores_and_decisions(
    telemetry: TelemetryCapture, instrument: Callable[..., SklearnInstrumentor], tmp_path: Path
) -> None:
    """The score is the probability of the second class, and the decision whether it is that one."""
    model = LogisticRegression().fit(FEATURES, BINARY)
    instrument(model="fraud", log=str(tmp_path))

    decisions = model.predict(FEATURES[:8])
    model.predict_proba(FEATURES[:8])

    assert predicted(telemetry) == {"fraud": 16}
    rows = [
        row for path in tmp_path.rglob(SEGMENT_PATTERN) for row in pq.read_table(path, partitioning=None).to_pylist()
    ]
    assert [row["prediction"] for row in rows if row["score"] is None] == (decisions == "yes").tolist()


def test_more_classes_give_a_score_each(
    telemetry: TelemetryCapture, instrument: Callable[..., SklearnInstrumentor], tmp_path: Path
) -> None:
    """The log keeps the whole vector, and the class as text."""
    model = LogisticRegression().fit(FEATURES, THREE)
    instrument(model="fraud", log=str(tmp_path), methods=["predict_proba"])

    scores = model.predict_proba(FEATURES[:4])
    model.predict(FEATURES[:9])

    assert predicted(telemetry) == {"fraud": 4}
    (segment,) = tmp_path.rglob(SEGMENT_PATTERN)
    assert pq.read_table(segment, partitioning=None)["score"].to_pylist() == scores.tolist()


def test_a_regressor_gives_numbers(telemetry: TelemetryCapture, instrument: Callable[..., SklearnInstrumentor]) -> None:
    """They have a histogram of their own."""
    model = LinearRegression().fit(FEATURES, NUMBERS)
    instrument(model="price")

    model.predict(FEATURES[:6])

    assert telemetry.values("ml.prediction.value", by="ml.model.name") == {"price": 6}


class _OwnClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """An estimator of somebody else, whose `predict` asks its own `predict_proba`."""

    def fit(self, _features: Any, labels: Any) -> _OwnClassifier:
        self.classes_ = np.unique(labels)
        return self

    def predict_proba(self, features: Any) -> Any:
        share = np.asarray(features).mean(axis=1)
        return np.stack([1 - share, share], axis=1)

    def predict(self, features: Any) -> Any:
        return self.classes_[self.predict_proba(features).argmax(axis=1)]


NESTED: Final = {
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
    "forest in threads": RandomForestClassifier(5, n_jobs=2),
    "vote": VotingClassifier([("a", LogisticRegression()), ("b", RandomForestClassifier(3))], voting="soft"),
    "search": GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
    "own": _OwnClassifier(),
}


@pytest.mark.parametrize("estimator", NESTED.values(), ids=NESTED.keys())
def test_a_prediction_is_counted_once_however_it_is_made(
    estimator: Any, telemetry: TelemetryCapture, instrument: Callable[..., SklearnInstrumentor]
) -> None:
    """What estimators ask each other, while they are fitted, scored or predict, is no prediction of the model."""
    instrument(model="fraud")

    model = clone(estimator).fit(FEATURES, BINARY)
    model.score(FEATURES, BINARY)
    cross_val_predict(estimator, FEATURES, BINARY, cv=2)
    model.predict(FEATURES[:7])

    assert predicted(telemetry) == {"fraud": 7}


def test_a_class_that_is_defined_later_is_wrapped_too(
    telemetry: TelemetryCapture, instrument: Callable[..., SklearnInstrumentor]
) -> None:
    """Instrumentation starts before the program imports what it serves."""
    instrument(model="fraud")

    class Later(_OwnClassifier):
        def predict(self, features: Any) -> Any:
            return super().predict(features)

    Later().fit(FEATURES, BINARY).predict(FEATURES[:3])

    assert predicted(telemetry) == {"fraud": 3}


def test_estimators_that_are_neither_classifier_nor_regressor_are_left_alone(
    telemetry: TelemetryCapture, instrument: Callable[..., SklearnInstrumentor]
) -> None:
    """A cluster is no decision of the model."""
    instrument(model="fraud")

    KMeans(2, n_init=1).fit(FEATURES).predict(FEATURES)

    assert predicted(telemetry) == {}


def test_an_estimator_of_another_kind_is_not_mixed_in(
    telemetry: TelemetryCapture, instrument: Callable[..., SklearnInstrumentor], caplog: pytest.LogCaptureFixture
) -> None:
    """A name in the environment is that of one model; the log says what to do about a second one."""
    classifier, regressor = LogisticRegression().fit(FEATURES, BINARY), LinearRegression().fit(FEATURES, NUMBERS)
    instrument(model="mixed")

    with caplog.at_level(logging.WARNING, logger="otel_ml_metrics"):
        classifier.predict(FEATURES[:2])
        regressor.predict(FEATURES)
        regressor.predict(FEATURES)

    assert predicted(telemetry) == {"mixed": 2}
    assert caplog.text.count("Register the estimators") == 1


def test_slices_are_read_from_the_columns_of_a_table(
    telemetry: TelemetryCapture, instrument: Callable[..., SklearnInstrumentor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Declared slices and fields are columns of the features, where those have names."""
    monkeypatch.setenv("OTEL_ML_METRICS_MODEL", "fraud")
    monkeypatch.setenv("OTEL_ML_METRICS_SLICES", "country, channel")
    table = pd.DataFrame({"a": FEATURES[:, 0], "country": ["NL", "DE", "NL"] * 20})
    model = make_pipeline(_Numbers(), LogisticRegression()).fit(table, BINARY)
    instrument()

    model.predict(table.head(3))
    model.predict(table[["a"]].head(2))

    assert telemetry.values("ml.predictions", by="ml.slice.country") == {"NL": 2, "DE": 1, "(missing)": 2}


class _Numbers(BaseEstimator):  # type: ignore[misc]  # the same
    def fit(self, _features: Any, _labels: Any = None) -> _Numbers:
        return self

    def transform(self, table: Any) -> Any:
        return table[["a"]].to_numpy()


def test_several_outputs_are_a_fault_and_no_error(
    telemetry: TelemetryCapture, instrument: Callable[..., SklearnInstrumentor]
) -> None:
    """What cannot be recorded is counted, and the caller has the answer."""
    model = LinearRegression().fit(FEATURES, np.stack([NUMBERS, NUMBERS], axis=1))
    instrument(model="price")

    answer = model.predict(FEATURES[:2])

    assert answer.shape == (2, 2)
    assert telemetry.values("ml.monitor.faults", by="reason") == {"internal": 1}


def test_a_log_that_cannot_be_written_does_not_stop_the_server(
    instrument: Callable[..., SklearnInstrumentor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Set-up errors of zero code are logged once: nobody is there to catch them."""
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    model = LogisticRegression().fit(FEATURES, BINARY)
    instrument(model="fraud", log=str(blocker / "log"))

    with caplog.at_level(logging.WARNING, logger="otel_ml_metrics"):
        answers = [model.predict(FEATURES[:2]) for _ in range(2)]

    assert [len(answer) for answer in answers] == [2, 2]
    assert caplog.text.count("cannot be written to") == 1


def test_an_unknown_method_is_said_and_nothing_is_wrapped(
    telemetry: TelemetryCapture,
    instrument: Callable[..., SklearnInstrumentor],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A typo in a variable does not stop the server either."""
    monkeypatch.setenv("OTEL_ML_METRICS_MODEL", "fraud")
    monkeypatch.setenv("OTEL_ML_METRICS_METHODS", "predict_prob")
    model = LogisticRegression().fit(FEATURES, BINARY)

    instrument()
    model.predict(FEATURES)

    assert predicted(telemetry) == {}
    assert "Did you mean 'predict_proba'" in caplog.text


def test_an_error_of_the_estimator_is_its_own(
    telemetry: TelemetryCapture, instrument: Callable[..., SklearnInstrumentor]
) -> None:
    """The caller sees what it would see without us, and the next prediction counts."""
    model = LogisticRegression().fit(FEATURES, BINARY)
    instrument(model="fraud")

    with pytest.raises(ValueError, match="features"):
        model.predict(FEATURES[:, :1])
    model.predict(FEATURES[:2])

    assert predicted(telemetry) == {"fraud": 2}


def test_a_second_instrument_changes_nothing(
    telemetry: TelemetryCapture, instrument: Callable[..., SklearnInstrumentor]
) -> None:
    """Once by the command and once by code is once."""
    model = LogisticRegression().fit(FEATURES, BINARY)
    instrument(model="fraud")

    instrument(model="fraud")
    model.predict(FEATURES[:2])

    assert predicted(telemetry) == {"fraud": 2}


def test_uninstrument_puts_the_originals_back(
    telemetry: TelemetryCapture, instrument: Callable[..., SklearnInstrumentor]
) -> None:
    """The classes are as they were, and a third instrumentor may come."""
    owners = (*LogisticRegression.__mro__, Pipeline, RandomForestClassifier, GridSearchCV)
    before = [dict(vars(owner)) for owner in owners]

    for _ in range(2):
        instrument(model="fraud").uninstrument()
    LogisticRegression().fit(FEATURES, BINARY).predict(FEATURES)

    assert [dict(vars(owner)) for owner in owners] == before
    assert predicted(telemetry) == {}


def test_wrapped_estimators_are_the_estimators_they_were(instrument: Callable[..., SklearnInstrumentor]) -> None:
    """They say which methods they have, and travel by pickle, bound methods too."""
    instrument(model="fraud")
    search = GridSearchCV(LinearSVC(), {"C": [1.0]}, cv=2).fit(FEATURES, BINARY)

    again = pickle.loads(pickle.dumps(search.predict))  # noqa: S301  # our own bytes

    assert (hasattr(search, "predict"), hasattr(search, "predict_proba")) == (True, False)
    assert again(FEATURES).tolist() == search.predict(FEATURES).tolist()
    assert search.predict.__doc__ == GridSearchCV.predict.__doc__


def test_threads_of_a_server_count_exactly(
    telemetry: TelemetryCapture, instrument: Callable[..., SklearnInstrumentor]
) -> None:
    """Requests in a pool of threads are told apart from calls inside of each other."""
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(FEATURES, BINARY)
    instrument(model="fraud")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(model.predict_proba, [FEATURES[:3]] * 50))

    assert predicted(telemetry) == {"fraud": 150}
