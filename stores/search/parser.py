"""From the text of a filter or an `order_by` to the syntax tree.

The language is that of MLflow 3.17: comparisons joined by AND. Whatever some MLflow store or version accepts is
accepted, a missing or superfluous AND included; everything else is `InvalidParameterValue`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from holdall.stores.errors import InvalidParameterValue
from holdall.stores.search.ast import Comparator, Comparison, Filter, Identifier, OrderBy, Ordering
from holdall.stores.search.kinds import EXPERIMENTS, LOGGED_MODELS, RUNS, Column, Entity, SearchKind
from holdall.stores.search.lexer import Lexer
from holdall.stores.search.literals import parse_value

__all__ = [
    "complete_ordering",
    "parse_experiment_filter",
    "parse_experiment_order_by",
    "parse_filter",
    "parse_logged_model_filter",
    "parse_order_by",
    "parse_run_filter",
    "parse_run_order_by",
    "resolve",
]


def parse_run_filter(text: str | None) -> Filter:
    """Parse the filter of a search of runs; None and the empty text mean everything.

    Raises:
        InvalidParameterValue: The text is not a filter, or not one for runs.
    """
    return parse_filter(text, RUNS)


def parse_experiment_filter(text: str | None) -> Filter:
    """Parse the filter of a search of experiments; None and the empty text mean everything.

    Raises:
        InvalidParameterValue: The text is not a filter, or not one for experiments.
    """
    return parse_filter(text, EXPERIMENTS)


def parse_logged_model_filter(text: str | None) -> Filter:
    """Parse the filter of a search of logged models; None and the empty text mean everything.

    A status given by its number becomes its name.

    Raises:
        InvalidParameterValue: The text is not a filter, or not one for logged models.
    """
    return parse_filter(text, LOGGED_MODELS)


def parse_run_order_by(clauses: Sequence[str] | None) -> Ordering:
    """Parse the `order_by` of a search of runs into a complete ordering.

    Args:
        clauses: Such as `["metrics.acc DESC", "params.lr"]`. None or empty: the newest first. Ties are broken by
            start time, the newest first, then by run id.

    Raises:
        InvalidParameterValue: Something in the list is not a key to order runs by, or it is not a list.
    """
    return parse_order_by(clauses, RUNS)


def parse_experiment_order_by(clauses: Sequence[str] | None) -> Ordering:
    """Parse the `order_by` of a search of experiments into a complete ordering.

    Args:
        clauses: Such as `["name"]`. None or empty: the newest first. Ties are broken by experiment id, descending
            unless `clauses` are empty.

    Raises:
        InvalidParameterValue: Something in the list is not a key to order experiments by, or it is not a list.
    """
    return parse_order_by(clauses, EXPERIMENTS)


def parse_filter(text: str | None, kind: SearchKind) -> Filter:
    """Parse a filter in the dialect of `kind`; None and the empty text mean everything.

    Integers stay int as long as they fit 64 bits where the column is an integer; all other numbers are float.

    Raises:
        InvalidParameterValue: The text is not a filter of that kind.
    """
    if text is not None and not isinstance(text, str):
        raise InvalidParameterValue(f"A filter is a text, not {type(text).__name__}.")
    return _parse_filter(text, kind) if text else ()


def parse_order_by(clauses: Sequence[str] | None, kind: SearchKind) -> Ordering:
    """Parse an `order_by` in the dialect of `kind`.

    Of several clauses for one column the first counts. What `kind` breaks ties with is appended, so that no two rows
    share a place.

    Raises:
        InvalidParameterValue: Something in the list is not a key to order by, or it is not a list.
    """
    if isinstance(clauses, str):
        raise InvalidParameterValue(f"order_by is a list of texts; write [{clauses!r}] instead of {clauses!r}.")
    if not clauses:
        return kind.default_order
    for clause in clauses:
        if not isinstance(clause, str):
            raise InvalidParameterValue(f"An order_by clause is a text, not {type(clause).__name__}.")
    return complete_ordering([_parse_order_clause(clause, kind) for clause in clauses], kind)


def complete_ordering(requested: Sequence[OrderBy], kind: SearchKind) -> Ordering:
    """Append what `kind` breaks ties with; of several keys for one column the first counts."""
    ordering: dict[Identifier, OrderBy] = {}
    for order in (*requested, *kind.tie_break):
        ordering.setdefault(order.identifier, order)
        if kind.unique <= ordering.keys():
            break
    return tuple(ordering.values())


@lru_cache(maxsize=256)
def _parse_filter(text: str, kind: SearchKind) -> Filter:
    if text.isspace():
        raise InvalidParameterValue(f"Invalid filter {text!r}: it is blank. Leave it out or empty to find everything.")
    lexer = Lexer(text, "filter")
    clauses: list[Comparison] = []
    lexer.skip_ands()
    while not lexer.at_end():
        clauses.append(_parse_clause(lexer, kind))
        lexer.skip_ands()
    return tuple(clauses)


def _parse_clause(lexer: Lexer, kind: SearchKind) -> Comparison:
    identifier, column = resolve(lexer.identifier(), lexer, kind)
    comparator = lexer.comparator()
    if comparator not in column.comparators:
        valid = ", ".join(known for known in Comparator if known in column.comparators)
        raise lexer.error(
            f"{comparator} does not apply to {identifier.entity} {identifier.key!r} of {kind.name}, "
            f"valid comparators are {valid or 'none, it is for order_by only'}"
        )
    return Comparison(identifier, comparator, parse_value(lexer, identifier, column, comparator))


@lru_cache(maxsize=256)
def _parse_order_clause(clause: str, kind: SearchKind) -> OrderBy:
    lexer = Lexer(clause, "order_by clause")
    if clause != clause.strip():
        raise lexer.error("it begins or ends with blanks")
    text = lexer.identifier()
    identifier, column = resolve(text, lexer, kind)
    if not column.sortable:
        raise lexer.error(f"{kind.name} cannot be ordered by {text}")
    direction = lexer.direction()
    if not lexer.at_end():
        raise lexer.expected("one key, then ASC, DESC or nothing")
    return OrderBy(identifier, ascending=direction != "DESC")


def resolve(text: str, lexer: Lexer, kind: SearchKind) -> tuple[Identifier, Column]:
    """The column that an identifier as written means in searches of `kind`; `lexer` reads it, and makes the errors."""
    prefix, dot, key = text.partition(".")
    if dot:
        entity = _entity(prefix, lexer, kind)
    else:
        entity, key = kind.entities[""], prefix
    key = _unquote(key)
    column = entity.column(key)
    if column is None:
        hint = " (AND is the only way to combine clauses)" if text.upper() in {"OR", "NOT"} else ""
        valid = ", ".join(entity.columns)
        raise lexer.error(f"{key!r} is not a key of {entity.type} for {kind.name}, valid keys are {valid}{hint}")
    return Identifier(entity.type, key if column.key is None else column.key), column


def _entity(prefix: str, lexer: Lexer, kind: SearchKind) -> Entity:
    spelling = prefix[1:-1] if len(prefix) > 1 and prefix[0] == prefix[-1] == "`" else prefix
    entity = kind.entities.get(spelling) if spelling else None
    if entity is None:
        valid = ", ".join(known for known in kind.entities if known)
        raise lexer.error(f"{prefix!r} is not an entity of {kind.name}, valid ones are {valid}")
    return entity


def _unquote(key: str) -> str:
    """Take off one layer of quotes, then one of backticks."""
    for quotes in ("'\"", "`"):
        if len(key) >= 2 and key[0] == key[-1] and key[0] in quotes:
            key = key[1:-1]
    return key
