"""What a check says of one thing that it looked at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        subject: Which.
        verdict: `ok`; `warn`: a run works, but somebody may want to know; `fail`: has to be mended.
        told: What was found, and where it is wrong, what was expected.
        fix: What to do about it; empty where there is nothing to do, or `told` says it.
    """

    subject: str
    verdict: Verdict
    told: str
    fix: str = ""

    def to_dict(self) -> dict[str, str]:
        """As plain JSON, with these names."""
        return asdict(self)
