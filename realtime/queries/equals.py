"""Which values a row must hold to count for a query at all, where that is certain.

It is where every row of the result must pass `column = value`, `IN` some values, or `IS NULL`, and where text
and database agree on what is equal. What one side of a join must hold, the other must as well: the condition
`orders.customer_id = 42` lets only `customers.id = 42` join. OR, NOT, expressions and conditions on groups
promise nothing.

Two kinds of statements are kept apart, by alias and column:

sure     In each joined row that passes, the column holds one of the values. An outer join fills in NULL where
         nothing matches, so a row of its table without the value may still matter: by matching, it keeps
         a row with NULL away. Not if NULL would not pass either.
matched  No row of this table without the value is in a joined row that passes, nor keeps one away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any
from uuid import UUID

from django.db.models.expressions import Col
from django.db.models.fields import Field
from django.db.models.lookups import Exact, In, IsNull
from django.db.models.sql.constants import INNER
from django.db.models.sql.where import AND, WhereNode

from .changes import Text, text_of

DJANGOS = "django."

Values = frozenset[Text]
Known = dict[tuple[str, str], Values]
Equals = Mapping[str, Mapping[str, Values]]

# The types of columns, by vendor, whose values are equal exactly when their texts are. A truth value of
# SQLite that is neither 0 nor 1 is taken for an error.
_TYPES: dict[str, dict[str, tuple[type, ...]]] = {
    "sqlite": {
        **dict.fromkeys(["integer", "bigint", "smallint"], (int,)),
        **dict.fromkeys(["integer unsigned", "bigint unsigned", "smallint unsigned"], (int,)),
        "bool": (bool,),
        **dict.fromkeys(["varchar", "text", "char"], (str,)),
    },
    "postgresql": {
        **dict.fromkeys(["integer", "bigint", "smallint"], (int,)),
        "boolean": (bool,),
        **dict.fromkeys(["varchar", "text"], (str,)),
        "uuid": (UUID,),
    },
}
_FIELDS = {
    *("AutoField", "BigAutoField", "SmallAutoField", "IntegerField", "BigIntegerField", "SmallIntegerField"),
    *("PositiveIntegerField", "PositiveBigIntegerField", "PositiveSmallIntegerField", "BooleanField"),
    *("CharField", "TextField", "SlugField", "UUIDField"),
}


def on_clauses(join: Any) -> list[WhereNode]:
    """What a join asks for besides equal columns."""
    restriction = join.join_field.get_extra_restriction(join.table_alias, join.parent_alias)
    filtered = join.filtered_relation and join.filtered_relation.resolved_condition
    return [each for each in (restriction, filtered) if each is not None]


def equals_of(where: WhereNode, joins: Sequence[Any], connection: Any) -> Equals:
    """By alias, the columns that its rows must hold one of these values in.

    joins   the base table, and all that is joined to it, in order
    """
    sure: Known = {}
    matched: Known = {}
    _narrow(sure, _conditions(where, connection))
    for join in joins[1:]:
        for clause in on_clauses(join):
            own = (
                (key, values) for key, values in _conditions(clause, connection) if key[0] == join.table_alias
            )
            _narrow(matched, own)
    while any(_carry(join, sure, matched, connection) for join in joins[1:]):
        pass
    certain = {join.table_alias for join in joins if join.join_type in (None, INNER)}
    certain |= {alias for (alias, _), values in sure.items() if None not in values}
    equals: dict[str, dict[str, Values]] = {join.table_alias: {} for join in joins}
    for known in ({key: values for key, values in sure.items() if key[0] in certain}, matched):
        for (alias, column), values in known.items():
            if alias in equals:  # not of a query around this one
                equals[alias][column] = equals[alias].get(column, values) & values
    return equals


def _narrow(known: Known, more: Iterable[tuple[Any, Values]]) -> bool:
    """Keep only the values that these allow as well; whether that told anything new."""
    before = dict(known)
    for key, values in more:
        known[key] = known.get(key, values) & values
    return known != before


def _carry(join: Any, sure: Known, matched: Known, connection: Any) -> bool:
    """What must hold on one side of a join must on the other; whether that told anything new."""
    inner = join.join_type == INNER
    news = False
    for there, here in join.join_fields:
        if _kind_of(there, connection) != _kind_of(here, connection) or _kind_of(here, connection) is None:
            continue
        parent, own = (join.parent_alias, there.column), (join.table_alias, here.column)
        if parent in sure:
            news |= _narrow(sure if inner else matched, [(own, sure[parent] - {None})])
        if parent in matched:
            news |= _narrow(matched, [(own, matched[parent] - {None})])
        if own in sure and (inner or None not in sure[own]):
            news |= _narrow(sure, [(parent, sure[own] - {None})])
    return news


def _conditions(node: Any, connection: Any) -> Iterator[tuple[Any, Values]]:
    """What a row must hold to pass."""
    if isinstance(node, WhereNode):
        if node.connector == AND and not node.negated:
            for child in node.children:
                yield from _conditions(child, connection)
        return
    column: Any = getattr(node, "lhs", None)
    if type(column) is not Col or not type(node).__module__.startswith(DJANGOS):
        return
    kind = _kind_of(column.target, connection)
    if kind is None or node.bilateral_transforms or not node.rhs_is_direct_value():
        return
    values: list[Any]
    if isinstance(node, IsNull):
        values = [None]
        certain = node.rhs is True
    elif isinstance(node, Exact | In):
        given: Any = [each for each in node.rhs if each is not None] if isinstance(node, In) else node.rhs
        prepared: Any = node.get_db_prep_lookup(given, connection)[1]
        values = [each.value if isinstance(each, Enum) else each for each in prepared]
        certain = all(isinstance(each, kind) and not _has_nul(each) for each in values)
    else:
        return
    if certain:
        texts = (str(each) if isinstance(each, UUID) else text_of(each) for each in values)
        yield (column.alias, column.target.column), frozenset(texts)


def _has_nul(value: Any) -> bool:
    """SQLite's own functions may take it for the end of a text."""
    return isinstance(value, str) and "\0" in value


def _kind_of(column: Field[Any, Any], connection: Any) -> tuple[type, ...] | None:
    """What values of this column are, if text tells exactly whether two are equal."""
    parameters = column.db_parameters(connection)
    field: Any = column
    while field.remote_field:
        field = field.target_field
    if not type(field).__module__.startswith(DJANGOS) or field.get_internal_type() not in _FIELDS:
        return None
    if column.generated or parameters.get("collation"):
        return None
    base = str(parameters["type"]).partition("(")[0]
    return _TYPES.get(connection.vendor, {}).get(base)
