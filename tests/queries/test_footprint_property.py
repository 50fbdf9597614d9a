"""What a footprint calls unaffected is unaffected: any queryset, any rows, any change of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models, transaction
from django.db.models import QuerySet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime.queries.changes import Change, affects, text_of
from realtime.queries.footprint import footprint_of
from realtime.queries.instances import row_of, shape_of
from tests.queries.bookshop.models import Author, Book
from tests.queries.bookshop.questions import questions
from tests.queries.bookshop.writes import MODELS, Write, books, fill, some, writes

Table = dict[Any, dict[str, Any]]
TOLD = (models.IntegerField, models.BooleanField, models.UUIDField, models.CharField, models.ForeignKey)


def stored() -> dict[str, Table]:
    """Every row as the database has it."""
    tables: dict[str, Table] = {}
    with connection.cursor() as cursor:
        for model in MODELS:
            cursor.execute(f'SELECT * FROM "{model._meta.db_table}"')
            columns = [column[0] for column in cursor.description]
            rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
            tables[model._meta.db_table] = {row[model._meta.pk.column]: row for row in rows}
    return tables


def changes(before: dict[str, Table], after: dict[str, Table]) -> Iterator[Change]:
    """What is heard of the difference: one change for each row."""
    for model in MODELS:
        table = model._meta.db_table
        told = {field.column for field in model._meta.local_concrete_fields if isinstance(field, TOLD)}
        for key in before[table].keys() | after[table].keys():
            old, new = before[table].get(key), after[table].get(key)
            if old == new:
                continue
            columns = {name for name in new if old[name] != new[name]} if old and new else None
            rows = tuple(
                {name: text(value) for name, value in row.items() if name in told}
                for row in (old, new)
                if row
            )
            yield Change(table, None if columns is None else frozenset(columns), rows)


def text(value: Any) -> str | None:
    return str(value) if isinstance(value, UUID) else text_of(value)


def result_of(queryset: QuerySet[Any]) -> list[Any]:
    """The rows in order, what was prefetched with them in any."""
    queryset, shape = queryset.all(), shape_of(queryset)
    return [settled(row_of(row, shape) if isinstance(row, models.Model) else row) for row in queryset]


def settled(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: settled(each) for name, each in value.items()}
    return sorted(map(settled, value), key=repr) if isinstance(value, list) else value


@pytest.mark.django_db
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    st.lists(books, min_size=2, max_size=4),
    some,
    st.lists(questions(), min_size=4, max_size=8),
    st.lists(writes(), min_size=4, max_size=6),
)
def test_a_change_that_is_skipped_changes_no_result(
    shelf: list[tuple[Any, ...]], mentor: int | None, asked: list[QuerySet[Any]], changing: list[Write]
) -> None:
    for model in (Book, Author):
        ContentType.objects.get_for_model(model)  # not rolled back with the example
    with transaction.atomic():
        fill(shelf, mentor)
        footprints = [footprint_of(queryset) for queryset in asked]
        before, results = stored(), [result_of(queryset) for queryset in asked]
        for write in changing:
            write()
            after = stored()
            heard = list(changes(before, after))
            for place, queryset in enumerate(asked):
                result = result_of(queryset)
                if not any(affects(change, footprints[place]) for change in heard):
                    assert result == results[place], f"{queryset.query}\n{heard}\n{footprints[place]}"
                results[place] = result
            before = after
        transaction.set_rollback(True)
