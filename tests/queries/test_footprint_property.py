"""What a footprint calls unaffected is unaffected: any queryset, any rows, any change of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from tests.queries.library.models import Author, Book, Genre, Loan, Mark, Novel
from tests.queries.library.questions import ids, names, pages, questions, truth

Write = Callable[[], object]
Table = dict[Any, dict[str, Any]]
Through: Any = Book.genres.through
TABLES: list[Any] = [Author, Book, Genre, Through, Loan, Novel, Mark]
TOLD = (models.IntegerField, models.BooleanField, models.UUIDField, models.CharField, models.ForeignKey)


def stored() -> dict[str, Table]:
    """Every row as the database has it."""
    tables: dict[str, Table] = {}
    with connection.cursor() as cursor:
        for model in TABLES:
            cursor.execute(f'SELECT * FROM "{model._meta.db_table}"')
            columns = [column[0] for column in cursor.description]
            rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
            tables[model._meta.db_table] = {row[model._meta.pk.column]: row for row in rows}
    return tables


def changes(before: dict[str, Table], after: dict[str, Table]) -> Iterator[Change]:
    """What is heard of the difference: one change for each row."""
    for model in TABLES:
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


def fill(books: list[tuple[Any, ...]], mentors: list[int | None]) -> None:
    Author.objects.bulk_create([Author(pk=pk, name="ab"[pk % 2]) for pk in range(1, len(mentors) + 1)])
    for pk, mentor in enumerate(mentors, 1):
        Author.objects.filter(pk=pk).update(mentor=mentor)
    Genre.objects.bulk_create([Genre(pk=1, name="a"), Genre(pk=2, name="b")])
    for pk, (author, title, lent, size, genres, others) in enumerate(books, 1):
        values = {
            "pk": pk,
            "author_id": author,
            "title": title,
            "lent": lent,
            "pages": size,
            "weight": pk % 3,
        }
        book = (
            Novel.objects.create(**values, plot="a") if "novel" in others else Book.objects.create(**values)
        )
        book.genres.set(genres)
        if "loan" in others:
            Loan.objects.create(book_id=pk, reader=title)
        if "mark" in others:
            Book.objects.get(pk=pk).marks.create(text=title)


authors = st.sampled_from([None, 1, 2])
books = st.tuples(
    *(authors, names, truth, pages | st.none()),
    st.sets(st.sampled_from([1, 2])),
    st.sets(st.sampled_from(["novel", "loan", "mark"])),
)
UPDATES: dict[tuple[type[Any], str], st.SearchStrategy[Any]] = {
    (Book, "title"): names,
    (Book, "lent"): truth,
    (Book, "pages"): pages | st.none(),
    (Book, "note"): names,
    (Book, "weight"): st.sampled_from([0.0, 1.0, 2.0]),
    (Book, "author"): authors,
    (Author, "name"): names,
    (Author, "mentor"): authors,
    (Genre, "name"): names,
    (Loan, "reader"): names,
    (Novel, "plot"): names,
    (Mark, "text"): names,
    (Mark, "object_id"): ids,
    (Mark, "content_type"): st.sampled_from([Book, Author]),
}


@st.composite
def writes(draw: st.DrawFn) -> Write:
    pk = draw(ids)
    kind = draw(st.sampled_from(["update"] * 6 + ["delete", "insert", "link", "unlink"]))
    if kind == "update":
        model, name = draw(st.sampled_from(list(UPDATES)))
        value = draw(UPDATES[model, name])
        return lambda: model.objects.filter(pk=pk).update(
            **{name: ContentType.objects.get_for_model(value) if name == "content_type" else value}
        )
    if kind == "delete":
        model = draw(st.sampled_from([Book, Author, Genre, Loan, Mark]))
        return lambda: model.objects.filter(pk=pk).delete()
    if kind == "insert":
        book = Book(pk=draw(st.integers(5, 6)), author_id=draw(authors), title=draw(names), pages=draw(pages))
        return lambda: Book.objects.bulk_create([book], ignore_conflicts=True)
    genre = draw(st.sampled_from([1, 2]))
    linked = Through.objects.filter(book=pk, genre=genre)
    if kind == "link":
        return lambda: [
            each.genres.add(*Genre.objects.filter(pk=genre)) for each in Book.objects.filter(pk=pk)
        ]
    return linked.delete


@pytest.mark.django_db
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    st.lists(books, min_size=2, max_size=4),
    st.lists(authors.filter(lambda mentor: mentor != 2), min_size=2, max_size=2),
    st.lists(questions(), min_size=3, max_size=6),
    st.lists(writes(), min_size=3, max_size=6),
)
def test_a_change_that_is_skipped_changes_no_result(
    books: list[tuple[Any, ...]], mentors: list[int | None], asked: list[QuerySet[Any]], changing: list[Write]
) -> None:
    for model in (Book, Author):
        ContentType.objects.get_for_model(model)  # not rolled back with the example
    with transaction.atomic():
        fill(books, mentors)
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
