"""Whose certificates a connection by HTTP trusts."""

from __future__ import annotations

import netrc  # noqa: F401  # requests does at its first request: a child that forks off meanwhile waits for it for ever
import os
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import DEFAULT_POOLSIZE, HTTPAdapter

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

    from otel_ml_metrics.telemetry.endpoint import Endpoint


class _TrustingAdapter(HTTPAdapter):
    """Trusts the certificates of one file, where one is named.

    A session could be told of the file, and there requests lets `REQUESTS_CA_BUNDLE` and `CURL_CA_BUNDLE` go
    before it, which containers often set. A forked child makes connections of its own: on one that both use, each reads
    answers to the other.

    Args:
        certificate: The file; None for the usual ones.
    """

    def __init__(self, certificate: str | None) -> None:
        super().__init__()
        self._certificate = certificate
        self._process = os.getpid()

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:  # noqa: ANN401 - passed on unread
        """Send a request."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self.init_poolmanager(DEFAULT_POOLSIZE, DEFAULT_POOLSIZE)
        if self._certificate is not None:
            kwargs["verify"] = self._certificate
        return super().send(request, *args, **kwargs)


def trusting_session(endpoint: Endpoint | None) -> requests.Session:
    """Make a session that trusts what the settings of an endpoint name, if there is one and they name anything."""
    adapter = _TrustingAdapter(None if endpoint is None else endpoint.certificate)
    session = requests.Session()
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session
