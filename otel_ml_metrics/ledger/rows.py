"""Many rows at once, below SQLAlchemy's mappings, which would take several times as long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Rows = Sequence[tuple[Any, ...]]

_AT_A_TIME: Final = 500
"""Keys that one statement names: SQLite takes 32,766 parameters, older ones 999."""


def chosen(connection: sa.Connection, column: sa.Column[Any], keys: Sequence[Any]) -> Iterator[sa.ColumnElement[bool]]:
    """Conditions that together choose the rows whose column has one of many keys, each fit for one statement."""
    if connection.dialect.name == "postgresql":
        array = sa.bindparam(None, list(keys), type_=sa.ARRAY(column.type))
        yield column.in_(sa.select(sa.func.unnest(array)))
        return
    for start in range(0, len(keys), _AT_A_TIME):
        yield column.in_(keys[start : start + _AT_A_TIME])


def insert(connection: sa.Connection, table: sa.Table, columns: Sequence[str], rows: Rows) -> None:
    """Add rows, in this order."""
    if not rows:
        return
    if connection.dialect.driver == "psycopg":
        _copy(connection, table, columns, rows)
        return
    statement = sa.insert(table).values({name: sa.bindparam(name) for name in columns})
    compiled = statement.compile(dialect=connection.dialect)
    if compiled.positional:
        order = [columns.index(name) for name in compiled.positiontup or columns]
        connection.exec_driver_sql(str(compiled), [tuple(row[at] for at in order) for row in rows])
    else:
        connection.exec_driver_sql(str(compiled), [dict(zip(columns, row, strict=True)) for row in rows])


def replace(connection: sa.Connection, table: sa.Table, columns: Sequence[str], rows: Rows) -> None:
    """Put rows in the place of those that have the same first column."""
    for some in chosen(connection, table.c[columns[0]], [row[0] for row in rows]):
        connection.execute(sa.delete(table).where(some))
    insert(connection, table, columns, rows)


def _copy(connection: sa.Connection, table: sa.Table, columns: Sequence[str], rows: Rows) -> None:
    """PostgreSQL's own way, which takes one round trip instead of one per row."""
    listed = ", ".join(f'"{name}"' for name in columns)
    driver: Any = connection.connection.cursor()
    with driver as cursor, cursor.copy(f'COPY "{table.name}" ({listed}) FROM STDIN') as copy:
        for row in rows:
            copy.write_row(row)
