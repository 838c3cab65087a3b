"""The model behind ASGI."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from otel_ml_metrics.integrations.asgi import RequestContextMiddleware
from tests.processes.served import Model


def make() -> FastAPI:
    """Make the application."""
    model = Model()
    app = FastAPI()
    app.add_middleware(RequestContextMiddleware)

    @app.post("/{path}")
    def answer(path: str) -> dict[str, Any]:
        return model.answer(f"/{path}")

    return app
