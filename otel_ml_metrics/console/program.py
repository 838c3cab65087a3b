"""The group of all commands, and what an error becomes: one message and an exit code, never a traceback by surprise."""

from __future__ import annotations

import sys
from traceback import print_exc

import click

from otel_ml_metrics.console.auditing import ledger
from otel_ml_metrics.console.cataloguing import catalogue
from otel_ml_metrics.console.checking import check
from otel_ml_metrics.console.demonstrating import demo
from otel_ml_metrics.console.drawing import dashboards
from otel_ml_metrics.console.evaluating import backfill, evaluate
from otel_ml_metrics.console.maintaining import maintain
from otel_ml_metrics.console.recalling import history
from otel_ml_metrics.console.reporting import report
from otel_ml_metrics.console.starting import init
from otel_ml_metrics.console.terms import Exit
from otel_ml_metrics.errors import (
    LedgerBusyError,
    LedgerLostError,
    LedgerMovedError,
    LogBusyError,
    OtelMLMetricsError,
)


class Program(click.Group):
    """A group that turns errors into messages and exit codes."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; click's own errors pass, it has words and exit code 2 for them."""
        try:
            return super().invoke(ctx)
        except (LedgerBusyError, LedgerLostError, LedgerMovedError, LogBusyError) as error:
            _fail(ctx, f"{error} Run it again.", Exit.UNEXPECTED)
        except OtelMLMetricsError as error:
            _fail(ctx, str(error), Exit.FIX)
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except Exception as error:
            if _nobody_reads():
                raise
            if ctx.params["traceback"]:
                print_exc()
            message = f"unexpected {type(error).__name__}: {error}\nWhere it happened: otel-ml-metrics --traceback ..."
            _fail(ctx, message, Exit.UNEXPECTED)
        return None


def _nobody_reads() -> bool:
    """Whether the reader of standard output has gone, as `head` does: click ends quietly then."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return True
    return False


def _fail(ctx: click.Context, message: str, code: Exit) -> None:
    click.secho(f"Error: {message}", fg="red", err=True)
    ctx.exit(code)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--traceback", is_flag=True, help="Show where an unexpected error happened.")
@click.version_option(package_name="otel-ml-metrics", message="%(version)s")
def program(*, traceback: bool) -> None:
    """Machine-learning metrics in OpenTelemetry: as predictions are made, and again when their labels arrive.

    \b
    Start here:
      otel-ml-metrics demo

    \b
    Exit codes:
      0  done
      2  fix the call or the settings: the message says what was found, what was expected and what to do
      3  the OTLP endpoint is down: the values are in the ledger, their points wait for the next run
      1  anything else, such as a ledger that another run holds; run it again
    """  # noqa: D301 - \b keeps click from filling the lines


program.add_command(demo)
program.add_command(init)
program.add_command(check)
program.add_command(evaluate)
program.add_command(backfill)
program.add_command(history)
program.add_command(report)
program.add_command(ledger)
program.add_command(maintain)
program.add_command(catalogue)
program.add_command(dashboards)
