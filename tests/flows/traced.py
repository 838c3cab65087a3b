"""Runs `evaluate-labels` once under a tracer provider, and writes its id and every span as JSON: a process of its own.

A process has one tracer provider for as long as it lives, and the tests of the flows share theirs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_ml_metrics.flows.evaluate_labels import evaluate_labels
from tests.flows.asking import run_id
from tests.flows.material import SETTLED

if __name__ == "__main__":
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    state = evaluate_labels(sys.argv[1], SETTLED, send_for=0, return_state=True)
    told = [json.loads(span.to_json()) for span in spans.get_finished_spans()]
    Path(sys.argv[2]).write_text(json.dumps({"run": str(run_id(state)), "spans": told}), encoding="utf-8")
