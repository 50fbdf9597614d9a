"""What one compiled query reads of which tables, its subqueries and combined queries included.

Refuses what it cannot read in full: SQL that somebody wrote by hand. Expressions of others than Django are
taken to read every column of the tables that the query names.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import F
from django.db.models.expressions import Col, RawSQL
from django.db.models.fields.generated import GeneratedField
from django.db.models.sql import Query
from django.db.models.sql.datastructures import BaseTable, Join
from django.db.models.sql.where import ExtraWhere, NothingNode

from .changes import Footprint, Reads, merged
from .equals import DJANGOS, Values, equals_of, on_clauses


class NotDerivable(ValueError):
    """What this query reads cannot be told from its queryset; the message says why. Declare its `reads`."""


@dataclass(slots=True)
class Occurrence:
    """One table under one alias in one query."""

    table: str
    columns: set[str] | None = field(default_factory=set)
    equals: Mapping[str, Values] = field(default_factory=dict)

    def read(self, column: Any) -> None:
        """This field is read. The value of a generated one changes with those it is made from."""
        if isinstance(column, GeneratedField):
            self.columns = None
        elif self.columns is not None:
            self.columns.add(column.column)

    @property
    def reads(self) -> Reads:
        return Reads(None if self.columns is None else frozenset(self.columns), self.equals)


# The tables of a query and, behind them, those of the queries around it, by alias.
Scope = ChainMap[str, Occurrence]


def footprint_of_query(query: Query, using: str) -> dict[str, Reads]:
    """What this query reads in the database of that alias. Raises NotDerivable."""
    walk = _Walk(using)
    walk.query(query, ChainMap())
    return merged(walk.footprints())


class _Walk:
    """Goes through everything that a query puts into its SQL, and notes it at the alias concerned."""

    def __init__(self, using: str) -> None:
        self.using = using
        self.occurrences: list[Occurrence] = []
        self.foreign = False  # somebody else's SQL is in it: which columns that reads is not known

    def footprints(self) -> Iterator[Footprint]:
        for occurrence in self.occurrences:
            yield {occurrence.table: Reads() if self.foreign else occurrence.reads}

    def query(self, query: Query, outer: Scope) -> None:
        if not type(query).__module__.startswith(DJANGOS):
            raise NotDerivable(f"{type(query).__qualname__} makes SQL of its own")
        if query.extra or query.extra_tables or query.extra_order_by:
            raise NotDerivable("extra() is SQL written by hand")
        query = query.clone()  # compiling adds joins
        compiler: Any = query.get_compiler(self.using)
        try:
            _, order_by, _ = compiler.pre_sql_setup()
        except EmptyResultSet:
            raise NotDerivable("it is ordered by something that is always empty") from None
        if query.combinator:
            for member in query.combined_queries:
                if query.selected is not None and member.selected is None:
                    member = member.clone()
                    member.set_values(query.selected)
                self.query(member, outer)
            return
        if query.distinct_fields:
            compiler.get_distinct()
        joins: list[Any] = [join for alias, join in query.alias_map.items() if query.alias_refcount[alias]]
        scope = outer.new_child({join.table_alias: Occurrence(join.table_name) for join in joins})
        self.occurrences += scope.maps[0].values()
        for join in joins:
            self._join(join, scope)
        if query.distinct_fields:
            for occurrence in scope.maps[0].values():
                occurrence.columns = None
        self._all((expression for expression, _, _ in compiler.select), scope)
        self._all((expression for expression, _ in order_by), scope)
        if isinstance(query.group_by, tuple):
            self._all(query.group_by, scope)
        self._node(query.where, scope)
        if compiler.qualify is None:  # else some conditions are put to the rows that come of the others
            for alias, equals in equals_of(query.where, joins, connections[self.using]).items():
                scope[alias].equals = equals

    def _join(self, join: Any, scope: Scope) -> None:
        kind: Any = type(join)
        if kind is BaseTable:
            return
        if kind is not Join:
            raise NotDerivable(f"{kind.__qualname__} is no table")
        for parent_field, own_field in join.join_fields:
            scope[join.parent_alias].read(parent_field)
            scope[join.table_alias].read(own_field)
        self._all(on_clauses(join), scope)

    def _all(self, nodes: Iterable[Any], scope: Scope) -> None:
        for node in nodes:
            self._node(node, scope)

    def _node(self, node: Any, scope: Scope) -> None:
        """An expression, a condition, a subquery, or a value, which reads nothing."""
        if isinstance(node, Col):
            self._column(node, scope)
        elif isinstance(node, Query):
            self.query(node, scope)
        elif isinstance(node, RawSQL | ExtraWhere):
            raise NotDerivable(f"{type(node).__qualname__} is SQL written by hand")
        elif isinstance(node, F):
            raise NotDerivable(f"{node!r} refers to a query around this one")
        elif isinstance(node, list | tuple | set | frozenset):
            self._all(node, scope)
        elif hasattr(node, "as_sql") and not isinstance(node, NothingNode):
            self._expression(node, scope)

    def _column(self, node: Col, scope: Scope) -> None:
        occurrence = scope.get(node.alias)
        if occurrence is None:
            raise NotDerivable(f"{node.alias} is no table of the query")
        occurrence.read(node.target)

    def _expression(self, node: Any, scope: Scope) -> None:
        if not type(node).__module__.startswith(DJANGOS) or "template" in getattr(node, "extra", {}):
            self.foreign = True
        self._all(node.get_source_expressions(), scope)
        rhs = getattr(node, "rhs", None)
        if not hasattr(rhs, "as_sql"):  # a range may have expressions for its ends
            self._node(rhs, scope)
