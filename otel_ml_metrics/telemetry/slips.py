"""Slips of the settings that do not look like one: what is heard, and which variable to change.

A receiver that speaks another protocol, or expects TLS where none is spoken, does not answer in words of OTLP. What
the libraries make of it reads like an outage, or even like a refusal of the points, which would then be given up for a
missing `s` in `https`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_ml_metrics.telemetry.answers import Answer, Verdict


@dataclass(frozen=True, slots=True)
class Slip:
    """One slip.

    Args:
        signs: Pattern of what is heard.
        advice: What to change.
        certain: Whether it can be nothing else, so that the answer is about the settings.
    """

    signs: str
    advice: str
    certain: bool = True


_HTTP_THERE: Final = (
    "It speaks HTTP there: set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or take its port for gRPC, mostly 4317."
)
_REFUSALS: Final = (
    Slip(  # in the words of servers in Go, of nginx and of Apache
        "HTTP request to an HTTPS server|plain HTTP request was sent to HTTPS|plain HTTP to an SSL",
        "It expects an encrypted connection: write https:// in the endpoint.",
    ),
)
_ANSWERS: Final = (
    Slip(
        "^HTTP 401|^gRPC UNAUTHENTICATED",
        "Give it a token that it knows: OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20TOKEN.",
    ),
    Slip("^gRPC UNIMPLEMENTED: .*http2 header with status: 4", _HTTP_THERE),
)
_SILENCES: Final = (
    Slip(r"http1\.x server", _HTTP_THERE),
    Slip(
        "(?i)wrong.version.number|record layer failure|packet length too long",
        "It does not encrypt: write http:// in the endpoint, or turn TLS on at the receiver.",
    ),
    Slip(
        "(?i)certificate.required|bad.certificate|TSI_DATA_CORRUPTED|EOF occurred in violation",
        "It broke the encrypted connection off, maybe for want of a certificate of yours:"
        " OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY.",
        certain=False,
    ),
    Slip(
        "(?i)certificate.verify.failed",
        "Name the file of its authority in OTEL_EXPORTER_OTLP_CERTIFICATE, and its host as the certificate has it.",
    ),
    # A port for gRPC hangs up on HTTP, mostly, and so does one that expects TLS; but so does a receiver that goes down.
    Slip(
        "Connection aborted|Connection broken|Socket closed",
        "If that is so again, look whether the port speaks gRPC (OTEL_EXPORTER_OTLP_PROTOCOL=grpc) or TLS (https://).",
        certain=False,
    ),
)
_SLIPS: Final[Mapping[Verdict, tuple[Slip, ...]]] = {
    "refused": _REFUSALS,
    "settings": _ANSWERS + _SILENCES,
    "busy": _SILENCES,
}


def without_slips(answer: Answer) -> Answer:
    """Read an answer again: one that is owed to a slip says what to change, and is no word about the points.

    >>> from otel_ml_metrics.telemetry.answers import Answer
    >>> without_slips(Answer("refused", message="HTTP 400: Client sent an HTTP request to an HTTPS server")).verdict
    'settings'
    """
    for slip in _SLIPS.get(answer.verdict, ()):
        if re.search(slip.signs, answer.message):
            verdict: Verdict = "settings" if slip.certain else answer.verdict
            return replace(answer, verdict=verdict, advice=slip.advice)
    return answer
