"""Rows of a small bookshop, and one change of them, as hypothesis draws both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.contenttypes.models import ContentType
from hypothesis import strategies as st

from .models import Author, Book, Genre, Loan, Mark, Novel
from .questions import ids, names, pages, truth

Through: Any = Book.genres.through
MODELS: list[Any] = [Author, Book, Genre, Through, Loan, Novel, Mark]

two = st.sampled_from([1, 2])
some = st.sampled_from([None, 1, 2])
books = st.tuples(
    some, names, truth, pages | st.none(), st.sets(two), st.sets(st.sampled_from(["novel", "loan", "mark"]))
)

UPDATES: dict[tuple[Any, str], st.SearchStrategy[Any]] = {
    (Book, "title"): names,
    (Book, "lent"): truth,
    (Book, "pages"): pages | st.none(),
    (Book, "note"): names,
    (Book, "weight"): st.sampled_from([0.0, 1.0, 2.0]),
    (Book, "author_id"): some,
    (Author, "name"): names,
    (Author, "mentor_id"): some,
    (Genre, "name"): names,
    (Through, "genre_id"): two,
    (Loan, "reader"): names,
    (Novel, "plot"): names,
    (Mark, "text"): names,
    (Mark, "object_id"): ids,
    (Mark, "content_type"): st.sampled_from([Book, Author]),
}


def fill(shelf: list[tuple[Any, ...]], mentor: int | None) -> None:
    """Two authors, two genres, and these books."""
    Author.objects.bulk_create(
        [Author(pk=1, name="a", mentor_id=mentor), Author(pk=2, name="b", mentor_id=1)]
    )
    Genre.objects.bulk_create([Genre(pk=1, name="a"), Genre(pk=2, name="b")])
    for pk, (author, title, lent, size, genres, others) in enumerate(shelf, 1):
        book = (Novel if "novel" in others else Book)(pk=pk, author_id=author, title=title, lent=lent)
        book.pages, book.weight = size, pk % 3
        book.save(force_insert=True)
        Through.objects.bulk_create([Through(book_id=pk, genre_id=genre) for genre in genres])
        if "loan" in others:
            Loan.objects.create(book_id=pk, reader=title)
        if "mark" in others:
            Mark.objects.create(
                content_type=ContentType.objects.get_for_model(Book), object_id=pk, text=title
            )


@dataclass
class Write:
    """One statement's worth of change, of the row in that place, if there is any."""

    kind: str
    model: Any
    place: int
    values: dict[str, Any]

    def __call__(self) -> None:
        if self.kind == "insert":
            self.model.objects.bulk_create([self.model(**self.values)], ignore_conflicts=True)
            return
        keys = list(self.model.objects.order_by("pk").values_list("pk", flat=True))
        row = self.model.objects.filter(pk=keys[self.place % len(keys)] if keys else 0)
        if self.kind == "delete":
            row.delete()
            return
        if (
            self.model is Through
            and Through.objects.filter(book__in=row.values("book"), **self.values).exists()
        ):
            return  # it is linked so already
        types = ContentType.objects.get_for_model
        row.update(**{name: types(to) if isinstance(to, type) else to for name, to in self.values.items()})


@st.composite
def writes(draw: st.DrawFn) -> Write:
    kind = draw(st.sampled_from(["update"] * 7 + ["delete", "insert", "link"]))
    place = draw(st.integers(0, 3))
    if kind == "update":
        model, name = draw(st.sampled_from(list(UPDATES)))
        return Write(kind, model, place, {name: draw(UPDATES[model, name])})
    if kind == "delete":
        return Write(kind, draw(st.sampled_from([Book, Author, Genre, Through, Loan, Mark])), place, {})
    if kind == "link":
        return Write("insert", Through, 0, {"book_id": draw(two), "genre_id": draw(two)})
    values = {"author_id": draw(some), "title": draw(names), "pages": draw(pages)}
    return Write(kind, Book, 0, {"pk": draw(st.integers(4, 6)), **values})
