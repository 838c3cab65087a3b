"""What the SDK keeps of the readers of a meter provider, which it does not tell."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.metrics import MeterProvider


def readers_of(provider: MeterProvider) -> Sequence[Any]:
    """The readers of a provider; none of one that keeps them otherwise than the SDK does."""
    real = _real(provider)
    config = getattr(real, "_sdk_config", None)
    return tuple(getattr(real, "_metric_readers", None) or getattr(config, "metric_readers", None) or ())


def collection_lock_of(provider: MeterProvider) -> threading.Lock | None:
    """What a provider holds while it collects, before its readers export; None for one that is not the SDK's."""
    return getattr(_consumer_of(provider), "_lock", None)


def renew_readers_of(provider: MeterProvider, *, scope: str) -> None:
    """Let the readers export in a forked child, and of the instruments of a scope nothing that the parent recorded.

    The SDK renews no more than its threads. A collection or an export that the parent was in at the fork would be
    waited for for ever; sums would go on from the parent's, and their differences begin with what the parent told last.
    """
    for reader in readers_of(provider):
        if hasattr(reader, "_export_lock"):
            reader._export_lock = threading.Lock()  # noqa: SLF001  # nobody else renews it
    consumer: Any = _consumer_of(provider)
    if hasattr(consumer, "_lock"):
        consumer._lock = threading.Lock()  # noqa: SLF001  # a collection may have outlasted our patience
    for storage in getattr(consumer, "_reader_storages", {}).values():
        if hasattr(storage, "_lock"):
            storage._lock = threading.RLock()  # noqa: SLF001  # like the lock above
        aggregated = getattr(storage, "_instrument_view_instrument_matches", {})
        for instrument in [each for each in aggregated if _scope_of(each) == scope]:
            del aggregated[instrument]  # it is made again at the next measurement


def _consumer_of(provider: MeterProvider) -> object:
    return getattr(_real(provider), "_measurement_consumer", None)


def _real(provider: MeterProvider) -> object:
    return getattr(provider, "_real_meter_provider", None) or provider


def _scope_of(instrument: object) -> str | None:
    return getattr(getattr(instrument, "instrumentation_scope", None), "name", None)
