"""Statements: written once in SQLAlchemy Core, compiled once per dialect, run on the driver's cursor.

Running compiled text on the driver costs a third of what SQLAlchemy's own execution does, which is what a call that
logs a single value is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.elements import ClauseElement

from holdall.backends.sql.dialect import Rows, SqlDialect

__all__ = ["Bulk", "Parameters", "Statement", "compile_once"]

Parameters = Sequence[object] | dict[str, object]


class _Prepared:
    """Compiled text, and how positional values become the driver's parameters."""

    __slots__ = ("bind", "sql")

    def __init__(self, compiled: SQLCompiler, names: Sequence[str]) -> None:
        self.sql = str(compiled)
        self.bind = _binder(compiled, names)


class Statement:
    """A statement with named parameters, given by position when it is run.

    Args:
        build: Makes the construct for a dialect; parameters are `sa.bindparam`s.
        names: The parameters, in the order in which their values will be given.
    """

    __slots__ = ("_build", "_names", "_prepared")

    def __init__(self, build: Callable[[SqlDialect], ClauseElement], *names: str) -> None:
        self._build = build
        self._names = names
        self._prepared: dict[str, _Prepared] = {}

    def on(self, dialect: SqlDialect) -> _Prepared:
        """The statement for a dialect, compiled at its first use."""
        prepared = self._prepared.get(dialect.key)
        if prepared is None:
            prepared = self._prepared[dialect.key] = _Prepared(_compile(self._build(dialect), dialect), self._names)
        return prepared


class Bulk:
    """An insertion of many rows of one owner at once: their first column is the same.

    Where the dialect can take rows as parameters it is one statement however many they are, else it is run for each.

    Args:
        build: Makes the construct for a dialect, and for the rows that the dialect makes of parameters; without them
            its parameters are the columns.
        columns: The columns of a row.
        names: Further parameters, given after the rows; a statement that is run for each row has none.
    """

    __slots__ = ("_build", "_columns", "_names", "_prepared")

    def __init__(
        self,
        build: Callable[[SqlDialect, Rows | None], Insert],
        columns: Sequence[sa.Column[Any]],
        *names: str,
    ) -> None:
        self._build = build
        self._columns = columns
        self._names = names
        self._prepared: dict[str, tuple[_Prepared, Rows | None]] = {}

    def on(self, dialect: SqlDialect) -> tuple[_Prepared, Rows | None]:
        """The statement, compiled at its first use, and how rows become parameters; None if it is run for each row."""
        prepared = self._prepared.get(dialect.key)
        if prepared is None:
            owner, *columns = self._columns
            rows = dialect.rows(columns)
            compiled = _compile(self._build(dialect, rows), dialect)
            given = [column.name for column in columns] if rows is None else [*rows.names, *self._names]
            names = [owner.name, *given]
            prepared = self._prepared[dialect.key] = _Prepared(compiled, names), rows
        return prepared


def compile_once(construct: ClauseElement, dialect: SqlDialect) -> tuple[str, Parameters]:
    """Text and parameters of a construct that holds its values, such as a search."""
    compiled = _compile(construct, dialect)
    bind = _binder(compiled, ())
    return str(compiled), () if bind is None else bind(())


def _compile(construct: ClauseElement, dialect: SqlDialect) -> SQLCompiler:
    compiled = construct.compile(dialect=dialect.sqlalchemy, compile_kwargs={"render_postcompile": True})
    assert isinstance(compiled, SQLCompiler)
    return compiled


def _binder(compiled: SQLCompiler, names: Sequence[str]) -> Callable[[Sequence[object]], Parameters] | None:
    """How values in the order of `names` become parameters; None where they are the parameters as they stand."""
    # SQLAlchemy types parameter values as Any; they are object from here on.
    constants: Mapping[str, Any] = compiled.construct_params(dict.fromkeys(names), escape_names=False)
    if not compiled.positional:
        return lambda values: {**constants, **dict(zip(names, values, strict=True))}
    order = compiled.positiontup or []
    if list(names) == order:
        return None
    template = [constants.get(name) for name in order]
    places = [(index, names.index(name)) for index, name in enumerate(order) if name in names]

    def bind(values: Sequence[object]) -> Sequence[object]:
        filled: list[object] = list(template)
        for index, place in places:
            filled[index] = values[place]
        return filled

    return bind
