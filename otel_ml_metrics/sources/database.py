"""Databases that somebody else writes, read as of one moment; what goes wrong is told without secrets."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import sqlalchemy as sa

from otel_ml_metrics.declared import with_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_ml_metrics.declared_sources import Queried
    from otel_ml_metrics.errors import LabelSourceError, LogError

    Refusal = type[LabelSourceError | LogError]

DIGEST: Final = "otel_ml_metrics_digest"
"""Name under which SQLite, which has no digest of its own, is lent ours."""

_SNAPSHOTS: Final = ("postgresql", "mysql", "mariadb")


@contextmanager
def opened(source: Queried, where: str, refusal: Refusal) -> Iterator[sa.Connection]:
    """A connection whose statements all see the rows of one moment, where the database can do that.

    Args:
        source: Which database; its secrets are read from the environment now.
        where: Place of the source in the settings.
        refusal: What is raised if the database cannot be reached or read.
    """
    filled = with_environment(f"{where}.url", source.url)
    try:
        url = sa.make_url(filled)
        is_sound = "@" not in (url.host or "")
    except (sa.exc.ArgumentError, ValueError):  # neither is chained: their words may be a part of the password
        is_sound, url = False, sa.make_url("unknown://")
    if not is_sound:
        _refuse(source, refusal, "its URL cannot be taken apart", "In a password, write @ as %40 and / as %2F.", None)
    engine = _engine(source, url, refusal)
    try:
        with engine.connect() as connection:
            _see_one_moment(connection)
            yield connection
    except sa.exc.SQLAlchemyError as error:
        said = _without_secrets(str(getattr(error, "orig", None) or error), url)
        advice = "See that it runs, that the user may read it, and that names are as the database keeps them."
        _refuse(source, refusal, said, advice, error if said == _said(error) else None)
    finally:
        engine.dispose()


def digest(*values: object) -> int:
    """A number that tells rows apart, to be added up: a sum does not depend on their order."""
    return int.from_bytes(hashlib.blake2b(repr(values).encode(), digest_size=4).digest())


def digest_sql(connection: sa.Connection, columns: list[sa.ColumnElement[Any]]) -> sa.ColumnElement[int]:
    """SQL of a number that tells rows apart; 0 where the database has none that is known here."""
    if connection.dialect.name == "postgresql":
        # Here and not at the top: where PostgreSQL is read it is loaded already, elsewhere nobody needs its dialect.
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415

        parts = [sa.func.coalesce(sa.cast(column, sa.Text), "\x1f") for column in columns]
        whole = sa.func.md5(sa.func.concat_ws("\x1e", *parts))
        leading = sa.cast(sa.literal("x").concat(sa.func.substr(whole, 1, 8)), postgresql.BIT(32))
        return sa.cast(leading, sa.BigInteger)
    if connection.dialect.name == "sqlite":
        return sa.Function(DIGEST, *columns, type_=sa.BigInteger)
    return sa.literal(0)


def _engine(source: Queried, url: sa.URL, refusal: Refusal) -> sa.Engine:
    is_file = url.get_backend_name() == "sqlite" and not str(url.database or ":memory:").startswith(("file:", ":"))
    if is_file and not Path(str(url.database)).exists():  # SQLite would make an empty one
        _refuse(source, refusal, "there is no such file", "Mend the path.", None)
    try:
        return sa.create_engine(url, poolclass=sa.pool.NullPool)
    except sa.exc.NoSuchModuleError as missing:
        advice = "Write a dialect of SQLAlchemy's, or install the package that brings it."
        _refuse(source, refusal, str(missing), advice, missing)
    except ModuleNotFoundError as missing:
        said = f"its driver {missing.name} is not installed"
        _refuse(source, refusal, said, f"Run: pip install {missing.name}, or name another driver.", missing)


def _see_one_moment(connection: sa.Connection) -> None:
    """Begin a transaction that sees one moment: what is counted and what is read must be the same rows."""
    if connection.dialect.name in _SNAPSHOTS:
        connection.execution_options(isolation_level="REPEATABLE READ")
    elif connection.dialect.name == "sqlite":
        lend: Any = getattr(connection.connection.driver_connection, "create_function", None)
        if lend is not None:
            lend(DIGEST, -1, digest, deterministic=True)
        connection.exec_driver_sql("BEGIN")  # its driver begins by itself only where something is written


def _refuse(source: Queried, refusal: Refusal, said: str, advice: str, cause: Exception | None) -> NoReturn:
    """Raise the error; a cause that holds a secret is not chained, since tracebacks show it."""
    message = f"The database {source.shown_url} cannot be read for its {source.shown}: {said.rstrip('.')}. {advice}"
    raise refusal(message) from cause


def _said(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())


def _without_secrets(said: str, url: sa.URL) -> str:
    """What a driver says, without the password and what else the URL passes on to it."""
    secrets = [str(url.password or "")]
    for value in url.query.values():
        secrets += [value] if isinstance(value, str) else value
    said = " ".join(said.split())
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        said = said.replace(secret, "***")
    return said
