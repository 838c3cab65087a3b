"""The model behind WSGI."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.processes.served import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def make() -> Callable[[dict[str, Any], Callable[..., object]], Iterable[bytes]]:
    """Make the application."""
    model = Model()

    def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(model.answer(environ["PATH_INFO"])).encode()]

    return app
