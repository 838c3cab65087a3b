"""Time the import of the package against a bare interpreter that imports numpy, as model servers have done anyway.

Fresh processes take turns: numpy alone, `import otel_ml_metrics`, and `from otel_ml_metrics import ModelMonitor`, since
names are imported when they are first used. The figures are medians of the processor time that a turn adds: an import
runs on one core and waits for nothing, and wall time on a shared machine mostly tells what else runs there.

Found (2026-11): the package itself adds next to nothing, since it imports names when they are first used.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
from typing import Final

BARE: Final = "import numpy"
STATEMENTS: Final = ("import otel_ml_metrics", "from otel_ml_metrics import ModelMonitor")
LIMIT_MS: Final = 150.0


def milliseconds(statement: str) -> float:
    """Processor time that a fresh interpreter takes to run a statement and end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True)
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
    for statement in (BARE, *STATEMENTS):
        milliseconds(statement)  # bytecode and the file cache
    turns = [[milliseconds(f"{BARE}; {each}") for each in ("pass", *STATEMENTS)] for _ in range(asked.turns)]
    medians = [statistics.median(turn[at] - turn[0] for turn in turns) for at in (1, 2)]
    print(f"{'':>8} {BARE:>14}  " + "  ".join(f"{each:>40}" for each in STATEMENTS))
    for number, (bare, *others) in enumerate(turns, start=1):
        print(f"{number:>8} {bare:>11.0f} ms  " + "  ".join(f"{each - bare:>+37.0f} ms" for each in others))
    print(f"{'median':>8} {'':>14}  " + "  ".join(f"{each:>+37.0f} ms" for each in medians))
    print(f"to reach: {LIMIT_MS:+g} ms for {STATEMENTS[0]!r}")
    return 0 if medians[0] <= LIMIT_MS else 1


if __name__ == "__main__":
    raise SystemExit(main())
