"""What a footprint leaves out, so that changes there evaluate nothing; and what it must not leave out."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Mapping
from typing import Any

import pytest
from django.db import connection, models
from django.db.models import Count, Exists, F, FilteredRelation, OuterRef, Q, QuerySet, Value, Window
from django.db.models.functions import Lower, Rank

from docs.examples.orders.models import Customer, Order
from realtime.queries.changes import Change, affects
from realtime.queries.footprint import footprint_of
from tests.queries.bookshop.models import Author, Book, LentBook, Loan, Novel

pytestmark = pytest.mark.database  # what values are as text differs

OF_42 = Order.objects.filter(customer_id=42).values("id", "total", "customer__name")
CODE = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
AUTHOR, BOOK, GENRE = "bookshop_author", "bookshop_book", "bookshop_genre"
BOOK_GENRES = "bookshop_book_genres"
NOVEL, LOAN = "bookshop_novel", "bookshop_loan"


def equals_in(queryset: QuerySet[Any]) -> dict[str, dict[str, set[str | None]]]:
    """The values that rows must hold, of tables where any must."""
    return {
        table: {column: set(values) for column, values in reads.equals.items()}
        for table, reads in footprint_of(queryset).items()
        if reads.equals
    }


def update(table: str, columns: set[str], *rows: Mapping[str, str | None]) -> Change:
    return Change(table, frozenset(columns), rows)


@pytest.mark.parametrize(
    ("change", "matters"),
    [
        (Change("orders_order", None, ({"id": "7", "customer_id": "43"},)), False),
        (Change("orders_order", None, ({"id": "7", "customer_id": "42"},)), True),
        (Change("orders_customer", frozenset({"name"}), ({"id": "43"},)), False),
        (Change("orders_customer", frozenset({"name"}), ({"id": "42"},)), True),
        (Change("orders_customer", frozenset({"user_id"}), ({"id": "42"},)), False),
        (update("orders_order", {"note"}, {"customer_id": "42"}), False),
        (update("orders_order", {"note", "total"}, {"customer_id": "42"}), True),
        (update("orders_order", {"customer_id"}, {"customer_id": "43"}, {"customer_id": "42"}), True),
        (update("orders_order", {"customer_id"}, {"customer_id": "43"}, {"customer_id": "44"}), False),
        (Change("orders_order"), True),
        (Change("orders_tag"), False),
    ],
)
def test_only_changes_that_can_matter_are_taken(change: Change, matters: bool) -> None:
    assert affects(change, footprint_of(OF_42)) is matters


@pytest.mark.parametrize(
    ("queryset", "equals"),
    [
        (Book.objects.filter(author=3), {BOOK: {"author_id": {"3"}}}),
        (Book.objects.filter(author=Author(pk=3), lent=True), {BOOK: {"author_id": {"3"}, "lent": {"1"}}}),
        (
            Book.objects.filter(lent=False, pages__in=[1, 2, None]),
            {BOOK: {"lent": {"0"}, "pages": {"1", "2"}}},
        ),
        (Book.objects.filter(pages__in=[1, 2]).filter(pages__in=[2, 3]), {BOOK: {"pages": {"2"}}}),
        (Book.objects.filter(author=None), {BOOK: {"author_id": {None}}}),
        (Book.objects.filter(title="It's"), {BOOK: {"title": {"It's"}}}),
        (Book.objects.filter(pages=2)[:5], {BOOK: {"pages": {"2"}}}),
        (Book.objects.filter(pages=2).values("title").distinct(), {BOOK: {"pages": {"2"}}}),
        (Book.objects.filter(pages=2).values("lent").annotate(n=Count("*")), {BOOK: {"pages": {"2"}}}),
        (LentBook.objects.filter(pages=2), {BOOK: {"pages": {"2"}}}),
        # Over a join, both ways, and over two of them.
        (
            Book.objects.filter(author=3).select_related("author"),
            {BOOK: {"author_id": {"3"}}, AUTHOR: {"id": {"3"}}},
        ),
        (Author.objects.filter(books__author=3), {BOOK: {"author_id": {"3"}}, AUTHOR: {"id": {"3"}}}),
        (
            Author.objects.filter(pk=3, books__pages__gt=1),
            {BOOK: {"author_id": {"3"}}, AUTHOR: {"id": {"3"}}},
        ),
        (Novel.objects.filter(pk=3), {BOOK: {"id": {"3"}}, NOVEL: {"book_ptr_id": {"3"}}}),
        (Loan.objects.filter(book__author__name="Bo"), {AUTHOR: {"name": {"Bo"}}}),
        (Book.objects.filter(genres=5), {BOOK_GENRES: {"genre_id": {"5"}}}),
        (
            Book.objects.filter(genres__id=5, genres__name="x"),
            {
                BOOK_GENRES: {"genre_id": {"5"}},
                GENRE: {"id": {"5"}, "name": {"x"}},
            },
        ),
        (
            Book.objects.filter(pk=4).values("genres__name"),
            {BOOK: {"id": {"4"}}, BOOK_GENRES: {"book_id": {"4"}}},
        ),
        # In subqueries, whatever is done with their result.
        (
            Author.objects.filter(Exists(Book.objects.filter(author=OuterRef("pk"), pages=2))),
            {BOOK: {"pages": {"2"}}},
        ),
        (Author.objects.exclude(books__pages=2), {BOOK: {"pages": {"2"}}}),
        (
            Author.objects.filter(pk__in=Book.objects.filter(pages=2).values("author")),
            {BOOK: {"pages": {"2"}}},
        ),
        # A row that counts for neither of two occurrences counts for nothing.
        (
            Book.objects.filter(pages=1).union(Book.objects.filter(pages=2, lent=True)),
            {BOOK: {"pages": {"1", "2"}}},
        ),
        (
            Book.objects.filter(pages=1, pk__in=Book.objects.filter(pages=2).values("pk")),
            {BOOK: {"pages": {"1", "2"}}},
        ),
        (Author.objects.filter(mentor=3).select_related("mentor"), {}),
        # In the condition of a join.
        (
            Author.objects.annotate(thin=FilteredRelation("books", condition=Q(books__pages=2))).values(
                "thin"
            ),
            {BOOK: {"pages": {"2"}}},
        ),
    ],
)
def test_rows_without_these_values_count_for_nothing(
    queryset: QuerySet[Any], equals: dict[str, dict[str, set[str | None]]]
) -> None:
    assert equals_in(queryset) == equals


class Size(models.IntegerChoices):
    THIN = 2


class Name(str, enum.Enum):  # noqa: UP042 - its str() is not its value
    BO = "Bo"


@pytest.mark.parametrize(
    ("queryset", "values"),
    [
        (Book.objects.filter(pages=Size.THIN), {"2"}),
        (Book.objects.filter(pages__in=[Size.THIN]), {"2"}),
        (Book.objects.filter(title=Name.BO), {"Bo"}),
        (Book.objects.filter(pages="2"), {"2"}),
        (Book.objects.filter(title=2), {"2"}),
    ],
)
def test_values_are_those_that_the_database_compares_with(queryset: QuerySet[Any], values: set[str]) -> None:
    (found,) = footprint_of(queryset)[BOOK].equals.values()
    assert found == values
    assert {type(each) for each in found} == {str}


@pytest.mark.django_db
@pytest.mark.parametrize("asked", [{"title": Name.BO}, {"pages": Size.THIN}, {"pages__in": [Size.THIN]}])
def test_members_of_enumerations_find_their_values(asked: dict[str, Any]) -> None:
    Book.objects.create(title="Bo", pages=2)
    assert Book.objects.filter(**asked).count() == 1


def test_a_uuid_is_the_text_that_the_database_has() -> None:
    text = str(CODE) if connection.vendor == "postgresql" else CODE.hex
    assert equals_in(Book.objects.filter(code=CODE)) == {BOOK: {"code": {text}}}
    assert equals_in(Book.objects.filter(code__in=[str(CODE)])) == {BOOK: {"code": {text}}}


@pytest.mark.parametrize(
    "queryset",
    [
        Book.objects.filter(Q(pages=2) | Q(lent=True)),
        Book.objects.filter(Q(pages=2) ^ Q(lent=True)),
        Book.objects.filter(~Q(pages=2)),
        Book.objects.exclude(pages=2),
        Book.objects.exclude(~Q(pages=2), lent=True),
        Book.objects.filter(pages__gt=2),
        Book.objects.filter(pages=F("weight")),
        Book.objects.filter(pages__in=[1, F("weight")]),
        Book.objects.filter(pages=Value(2) + 1),
        Book.objects.filter(title__iexact="bo"),
        Book.objects.annotate(low=Lower("title")).filter(low="bo"),
        Book.objects.filter(title="a\0b"),
        Book.objects.filter(weight=1.5),
        Book.objects.filter(loud_title="BO"),
        Book.objects.filter(author__isnull=False),
        Book.objects.annotate(n=Count("genres")).filter(n=2),
        Book.objects.annotate(at=Window(Rank(), order_by="pages")).filter(at=1, pages=2),
        Book.objects.filter(Q(pages=2) | Q(pk__in=Book.objects.filter(lent=True))),
        # Its rows count by being there: then their authors are not among those without books.
        Author.objects.filter(books=None),
        Author.objects.filter(books__pages=None),
        Author.objects.filter(Q(books__pages=None) | Q(books__pages=2)),
    ],
)
def test_what_is_not_certain_is_not_claimed(queryset: QuerySet[Any]) -> None:
    assert not footprint_of(queryset)[BOOK].equals


@pytest.mark.parametrize(
    ("queryset", "equals"),
    [
        # NULL where no book matches passes as well, so it says nothing of the author…
        (Author.objects.filter(books__author=None), {}),
        # …and nothing of the book, of which only the join is certain.
        (Author.objects.filter(pk=3, books__pages=None), {AUTHOR: {"id": {"3"}}, BOOK: {"author_id": {"3"}}}),
        # An outer join keeps authors whom its condition does not fit.
        (
            Author.objects.annotate(
                thin=FilteredRelation("books", condition=Q(books__pages=2, name="Bo"))
            ).values("thin"),
            {BOOK: {"pages": {"2"}}},
        ),
    ],
)
def test_outer_joins_promise_less(
    queryset: QuerySet[Any], equals: dict[str, dict[str, set[str | None]]]
) -> None:
    assert equals_in(queryset) == equals


@pytest.mark.parametrize(
    ("queryset", "table", "columns"),
    [
        (Book.objects.filter(pages=1).values("title"), BOOK, {"pages", "title"}),
        (Book.objects.only("title"), BOOK, {"id", "title"}),
        (Book.objects.order_by("weight").values("id"), BOOK, {"id", "weight"}),
        (Book.objects.values("lent").annotate(n=Count("*")), BOOK, {"lent"}),
        (Author.objects.annotate(n=Count("books")), BOOK, {"id", "author_id"}),
        (Author.objects.filter(Exists(Book.objects.filter(author=OuterRef("pk")))), BOOK, {"author_id"}),
        (Book.objects.filter(pages__range=(1, F("weight"))).values("id"), BOOK, {"id", "pages", "weight"}),
        (Book.objects.filter(pages__in=[1, F("weight")]).values("id"), BOOK, {"id", "pages", "weight"}),
        (Book.objects.values("lent").annotate(n=Count("*")).values("n"), BOOK, {"lent"}),
        (Book.objects.filter(loan__reader="a").values("title"), LOAN, {"book_id", "reader"}),
        (Book.objects.filter(loan__reader="a").values("title"), BOOK, {"id", "title"}),
        (
            Author.objects.annotate(thin=FilteredRelation("books", condition=Q(books__pages__gt=2))).values(
                "thin__title"
            ),
            BOOK,
            {"author_id", "pages", "title"},
        ),
        (Book.objects.values("loud_title"), BOOK, None),
        (Author.objects.values("id").distinct("name"), AUTHOR, None),
    ],
)
def test_only_columns_that_are_named_are_read(
    queryset: QuerySet[Any], table: str, columns: set[str] | None
) -> None:
    found = footprint_of(queryset)[table].columns
    assert found == columns


def test_customers_of_a_user_are_told_by_the_user() -> None:
    assert equals_in(Customer.objects.filter(user=7, orders__open=True)) == {
        "orders_customer": {"user_id": {"7"}},
        "orders_order": {"open": {"1"}},
    }
