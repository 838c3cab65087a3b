"""The program `otel-ml-metrics`; its commands stand in `console/`."""

from __future__ import annotations

import gc
import sys
from typing import Final

from otel_ml_metrics.errors import MissingExtraError

_OBJECTS: Final = 10_000
"""New objects after which cycles among them are looked for. Imports and tables make many objects and hardly a cycle:
after 700 of them, as Python does it, a command spends 8 % of its time on looking, and 3 % like this."""


def main() -> None:
    """Run the program on the arguments of the process, and leave with its exit code."""
    gc.set_threshold(_OBJECTS)
    try:
        # Here and not at the top: the core installs without these libraries, and then the install line is the answer.
        from otel_ml_metrics.console.program import program  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        if missing.name not in {"click", "rich"}:
            raise
        sys.stderr.write(f"{MissingExtraError(missing.name, 'evaluate', 'The command line')}\n")
        sys.exit(2)
    program.main(prog_name="otel-ml-metrics")


if __name__ == "__main__":
    main()
