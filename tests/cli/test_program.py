"""The program as a whole: help that teaches, errors as one message and an exit code."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from otel_ml_metrics.console.program import Program, program
from otel_ml_metrics.errors import (
    ConfigurationError,
    LedgerBusyError,
    LedgerLostError,
    LedgerMismatchError,
    MissingExtraError,
    OtelMLMetricsError,
)

COMMANDS = sorted(program.commands)


def failing_with(error: BaseException) -> click.Command:
    """The program with one command, which fails."""

    @click.group(cls=Program)
    @click.option("--traceback", is_flag=True)
    def group(*, traceback: bool) -> None:
        del traceback

    @group.command()
    def fail() -> None:
        raise error

    return group


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("task is 'binery', did you mean 'binary'?"), 2),
        (LedgerMismatchError("the ledger belongs to another evaluation"), 2),
        (MissingExtraError("duckdb", "evaluate", "Evaluating labels"), 2),
        (LedgerBusyError("another run holds the ledger"), 1),
        (LedgerLostError("the connection was lost"), 1),
        (RuntimeError("a bug"), 1),
    ],
)
def test_an_error_is_a_message_and_an_exit_code(error: Exception, code: int) -> None:
    """Scripts read the code, people the message; nobody has to read a traceback."""
    done = CliRunner().invoke(failing_with(error), ["fail"])

    assert done.exit_code == code
    assert str(error) in done.stderr
    assert "Traceback" not in done.output
    assert done.stdout == ""


def test_where_an_unexpected_error_happened_is_shown_on_request() -> None:
    """Whoever reports a bug needs its place."""
    done = CliRunner().invoke(failing_with(RuntimeError("a bug")), ["--traceback", "fail"])

    assert done.exit_code == 1
    assert "test_program.py" in done.stderr


def test_a_ledger_in_use_says_to_run_again() -> None:
    """It is nobody's mistake, and waiting mends it."""
    done = CliRunner().invoke(failing_with(LedgerBusyError("another run holds the ledger.")), ["fail"])

    assert "Run it again." in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_a_line_to_paste_and_its_exit_codes(command: str) -> None:
    """Help says what will happen, units, defaults, a line to paste, and exit codes."""
    done = CliRunner().invoke(program, [command, "--help"])

    assert done.exit_code == 0
    assert f"otel-ml-metrics {command}" in done.output
    assert "Exit codes:" in done.output


def test_help_needs_no_engine() -> None:
    """Help comes at once: what a command needs is imported when it runs."""
    heavy = ("duckdb", "pyarrow", "sqlalchemy", "sklearn", "prefect", "fastapi")
    code = f"""
import sys
from otel_ml_metrics.console.program import program
program.main(["--help"], standalone_mode=False)
sys.exit(",".join(name for name in {heavy} if name in sys.modules) or 0)
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_every_group_of_errors_but_retry_means_that_the_user_fixes_something() -> None:
    """A new error gets exit code 2 without anybody thinking of it."""

    class NewError(OtelMLMetricsError):
        """An error that the program was never told of."""

    done = CliRunner().invoke(failing_with(NewError("...")), ["fail"])

    assert done.exit_code == 2
