"""The OTLP endpoint: does it answer to what is set, and if not, to what would it?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from otel_ml_metrics.checks.findings import Finding
from otel_ml_metrics.checks.listening import encrypts
from otel_ml_metrics.telemetry.delivery import Delivery
from otel_ml_metrics.telemetry.endpoint import METRICS_PATH, PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_ml_metrics.configuration import Evaluation
    from otel_ml_metrics.telemetry.answers import Answer
    from otel_ml_metrics.telemetry.endpoint import Endpoint

PATIENCE: Final = 3.0
"""Seconds for each question after the first."""

_WANTS_A_KEY: Final = frozenset({"401", "UNAUTHENTICATED"})
_REFUSES_THE_KEY: Final = frozenset({"403", "PERMISSION_DENIED"})
_NO_SUCH_PATH: Final = frozenset({"404", "405", "UNIMPLEMENTED"})


def look_at_endpoint(evaluation: Evaluation, environ: Mapping[str, str]) -> Iterator[Finding]:
    """See whether the endpoint answers; where it does not, ask it in other ways, so that the setting to mend is known.

    Args:
        evaluation: Whose points go there.
        environ: `OTEL_EXPORTER_OTLP_*` settings.

    Yields:
        One finding.

    Raises:
        EndpointError: A setting cannot be used as it is written.
        MissingExtraError: The exporter of the protocol is not installed.
    """
    delivery = Delivery.from_environment(environ, service=evaluation.service, evaluation=evaluation.name)
    if delivery is None:
        fix = "Set OTEL_EXPORTER_OTLP_ENDPOINT, for a Collector on this machine http://localhost:4318."
        yield Finding("endpoint", "fail", "none is set, so points would wait in the ledger", fix)
        return
    with delivery:
        answer, endpoint = delivery.probe(), delivery.endpoint
    where = f"{endpoint.shown} by {endpoint.protocol}"
    if answer.verdict == "accepted":
        yield Finding("endpoint", "ok", f"{where} answers")
        return
    told = "refuses an empty request" if answer.status else "does not answer"
    yield Finding("endpoint", "fail", f"{where} {told}: {answer.message}", _fix(endpoint, answer))


def _fix(endpoint: Endpoint, answer: Answer) -> str:
    """Say what to change."""
    if answer.status in _WANTS_A_KEY and not endpoint.headers:
        return "It wants a token: set OTEL_EXPORTER_OTLP_HEADERS=Authorization=Bearer%20<token>."
    if answer.status in _WANTS_A_KEY | _REFUSES_THE_KEY:
        sent = ", ".join(sorted(endpoint.headers)) or "nothing"
        return f"It does not accept the key: OTEL_EXPORTER_OTLP_HEADERS sends {sent}. Mend its value, or its rights."
    found = (_answering(endpoint) if _may_be_another(answer) else None) or answer.advice
    if found:
        return found
    if answer.status in _NO_SUCH_PATH and endpoint.protocol != "grpc":
        return (
            f"No OTLP is received at that path. {endpoint.variable} is the address before /{METRICS_PATH}, unless it is"
            " the one for metrics alone."
        )
    if answer.status:
        return f"Look into the log of the receiver, or mend {endpoint.variable}."
    return f"Start the receiver, or mend {endpoint.variable}."


def _may_be_another(answer: Answer) -> bool:
    """Whether a different protocol could be the matter: nobody answered, or nobody who knows OTLP."""
    return not answer.status or answer.status in _NO_SUCH_PATH | {"400", "415", "426"}


def _answering(endpoint: Endpoint) -> str | None:
    """What to change so that the endpoint answers; None where nothing is found."""
    split = urlsplit(endpoint.url)
    encrypted = encrypts(split.hostname or "", split.port or (443 if endpoint.secure else 80), timeout=PATIENCE)
    if encrypted is None:
        return f"Nobody listens at {split.netloc.rpartition('@')[2]}. Start the receiver, or mend {endpoint.variable}."
    scheme = "https" if encrypted else "http"
    changes = [f"write {endpoint.variable} with {scheme}://"] if encrypted != endpoint.secure else []
    for protocol in PROTOCOLS:
        if (protocol, encrypted) == (endpoint.protocol, endpoint.secure):
            continue
        heard = _ask(endpoint, protocol=protocol, scheme=scheme)
        if heard.verdict == "accepted" or heard.status in _WANTS_A_KEY | _REFUSES_THE_KEY:
            if protocol != endpoint.protocol:
                changes.append(f"set OTEL_EXPORTER_OTLP_PROTOCOL={protocol}")
            return f"It speaks {protocol}, {'' if encrypted else 'not '}encrypted: {' and '.join(changes)}."
    if encrypted and changes:
        changes.append("name the file of its authority in OTEL_EXPORTER_OTLP_CERTIFICATE, if that is one of your own")
    return f"It is {'' if encrypted else 'not '}encrypted: {' and '.join(changes)}." if changes else None


def _ask(endpoint: Endpoint, *, protocol: str, scheme: str) -> Answer:
    """Send an empty request in another way."""
    split = urlsplit(endpoint.url)._replace(scheme=scheme)
    path = "" if protocol == "grpc" else split.path if endpoint.protocol != "grpc" else f"/{METRICS_PATH}"
    other = replace(endpoint, url=split._replace(path=path).geturl(), protocol=protocol, timeout=PATIENCE)  # type: ignore[arg-type]  # one of PROTOCOLS
    with Delivery(other, service="check", evaluation="check") as delivery:
        return delivery.probe()
