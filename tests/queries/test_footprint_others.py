"""Models, fields and expressions that are not like Django's own: what is not known of them is read whole."""

# ruff: noqa: DJ008 - nobody sees their names

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.db.models import F
from django.db.models.lookups import Exact
from django.test.utils import isolate_apps

from realtime.queries.changes import Reads
from realtime.queries.footprint import NotDerivable, footprint_of
from tests.queries.bookshop.models import Book, Mark

BOOK, MARK = "bookshop_book", "bookshop_mark"


class Odd(models.Func):
    """Somebody's own SQL, which may name any column."""

    def as_sql(self, *args: Any, **kwargs: Any) -> tuple[str, list[Any]]:
        return '("bookshop_book"."pages" % 2)', []


@pytest.mark.parametrize(
    "odd", [Odd(), models.Func("pk", template='"bookshop_book"."pages" + %(expressions)s')]
)
def test_expressions_of_others_read_their_tables_whole(odd: models.Func) -> None:
    queryset = Book.objects.annotate(odd=models.ExpressionWrapper(odd, models.IntegerField()))
    reads = footprint_of(queryset.filter(odd=1, lent=True).values("id"))
    assert reads[BOOK].columns is None
    assert not reads[BOOK].equals


@isolate_apps("tests.queries.bookshop")
def test_text_that_another_collation_compares_is_not_certain() -> None:
    class Word(models.Model):
        text = models.CharField(max_length=9, db_collation="nocase")
        plain = models.CharField(max_length=9)

        class Meta:
            app_label = "bookshop"

    assert not footprint_of(Word.objects.filter(text="a"))["bookshop_word"].equals
    assert footprint_of(Word.objects.filter(plain="a"))["bookshop_word"].equals == {"plain": {"a"}}


@isolate_apps("tests.queries.bookshop")
def test_fields_and_lookups_of_others_are_not_certain() -> None:
    class Loud(models.CharField):
        """Its lookups are those of Django, but who knows what its values become."""

    class Word(models.Model):
        text = Loud(max_length=9)
        plain = models.CharField(max_length=9)

        class Meta:
            app_label = "bookshop"

    class Same(Exact):
        """Its SQL may be anything."""

    assert not footprint_of(Word.objects.filter(text="a"))["bookshop_word"].equals
    reads = footprint_of(Word.objects.filter(Same(F("plain"), "a"), plain="b").values("id"))["bookshop_word"]
    assert (reads.columns, reads.equals) == (None, {})


@isolate_apps("tests.queries.bookshop")
def test_both_columns_of_a_composite_key_are_read() -> None:
    class Seat(models.Model):
        pk = models.CompositePrimaryKey("row", "place")
        row = models.IntegerField()
        place = models.IntegerField()
        other = models.IntegerField()
        unread = models.IntegerField()

        class Meta:
            app_label = "bookshop"

    seats = Seat.objects.filter(pk=(F("other"), 1)).values("place")
    assert footprint_of(seats) == {"bookshop_seat": Reads(frozenset({"row", "place", "other"}))}


@pytest.mark.django_db
def test_a_generic_relation_reads_the_rows_of_its_own_type() -> None:
    marks = footprint_of(Book.objects.filter(marks__text="a").values("title"))[MARK]
    assert marks.columns == {"content_type_id", "object_id", "text"}
    own = str(ContentType.objects.get_for_model(Book).pk)
    assert marks.equals == {"content_type_id": {own}, "text": {"a"}}


@pytest.mark.django_db
def test_prefetching_a_generic_relation_reads_its_table_and_the_other_way_is_refused() -> None:
    assert footprint_of(Book.objects.prefetch_related("marks"))[MARK] == Reads()
    with pytest.raises(NotDerivable, match=r"Mark\.marked is no relation whose rows are of one model"):
        footprint_of(Mark.objects.prefetch_related("marked"))


@isolate_apps("tests.queries.bookshop")
def test_managers_that_prefetch_each_other_come_to_an_end() -> None:
    class Towards(models.Manager):
        def get_queryset(self) -> models.QuerySet[Any]:
            return super().get_queryset().prefetch_related(self.model.other)

    class Left(models.Model):
        other = "rights"
        objects = Towards()

        class Meta:
            app_label = "bookshop"

    class Right(models.Model):
        other = "left__rights"
        left = models.ForeignKey(Left, models.CASCADE, related_name="rights")
        objects = Towards()

        class Meta:
            app_label = "bookshop"

    assert footprint_of(Left.objects.all()) == {"bookshop_left": Reads(), "bookshop_right": Reads()}


class _Several(models.QuerySet[Any]):
    """Reads more than its query says."""

    def _fetch_all(self) -> None:
        super()._fetch_all()


def test_querysets_that_fetch_in_a_way_of_their_own_are_refused() -> None:
    with pytest.raises(NotDerivable, match="_Several fetches rows in a way of its own"):
        footprint_of(_Several(Book))


def test_an_iterable_of_somebody_else_is_refused() -> None:
    class Rows(models.query.ModelIterable):
        pass

    books = Book.objects.all()
    books._iterable_class = Rows
    with pytest.raises(NotDerivable, match="fetches rows in a way of its own"):
        footprint_of(books)
