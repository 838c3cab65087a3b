"""Time the import of the package against an interpreter that imports numpy and the API of OpenTelemetry.

That is what the package depends on, and what a model server with any telemetry has imported anyway. Fresh processes
take turns: these two alone, `import otel_ml_metrics`, and `from otel_ml_metrics import ModelMonitor`, since names are
imported when they are first used. The figures are medians of the processor time that a turn adds: an import runs on one
core and waits for nothing, and wall time on a shared machine mostly tells what else runs there. Modules are compiled
before, as those of an installed package are, and numpy's linear algebra starts no threads: they spin for a while and
count as processor time, for as long as the process lives.

Found (2026-11): a third of what was added was `secrets`, with OpenSSL and all, for one random number that the system
gives as well. Where the environment forbids Python to keep bytecode, compiling a checkout's own modules is two thirds
of what its import adds; that and the spinning threads once made 80 ms of what is 20 ms.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from typing import Final

BARE: Final = "import numpy, opentelemetry.metrics, opentelemetry.trace"
STATEMENTS: Final = ("import otel_ml_metrics", "from otel_ml_metrics import ModelMonitor")
LIMIT_MS: Final = 50.0


def milliseconds(statement: str, bytecode: str) -> float:
    """Processor time that a fresh interpreter takes to run a statement and end, with its bytecode in a folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    settings = {"PYTHONPYCACHEPREFIX": bytecode, "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", statement], check=True, env=kept | settings)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1_000


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"Prints the turns and the medians. Exit code 1 if the package adds more than {LIMIT_MS:g} ms.",
    )
    parser.add_argument("--turns", type=int, default=15, help="turns of each statement (default: 15)")
    return parser.parse_args()


def main() -> int:
    """Run the pairs and print what the package adds."""
    asked = arguments()
    with tempfile.TemporaryDirectory() as bytecode:
        for statement in (BARE, *STATEMENTS):
            milliseconds(statement, bytecode)  # compiles, and fills the file cache
        statements = [f"{BARE}; {each}" for each in ("pass", *STATEMENTS)]
        turns = [[milliseconds(statement, bytecode) for statement in statements] for _ in range(asked.turns)]
    medians = [statistics.median(turn[at] - turn[0] for turn in turns) for at in (1, 2)]
    print(f"bare: {BARE}")
    print(f"{'':>8} {'bare':>14}  " + "  ".join(f"{each:>40}" for each in STATEMENTS))
    for number, (bare, *others) in enumerate(turns, start=1):
        print(f"{number:>8} {bare:>11.0f} ms  " + "  ".join(f"{each - bare:>+37.0f} ms" for each in others))
    print(f"{'median':>8} {'':>14}  " + "  ".join(f"{each:>+37.0f} ms" for each in medians))
    print(f"to reach: at most {LIMIT_MS:+g} ms")
    return 0 if max(medians) <= LIMIT_MS else 1


if __name__ == "__main__":
    raise SystemExit(main())
