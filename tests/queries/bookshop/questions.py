"""Any queryset over the bookshop, as hypothesis draws it."""

from __future__ import annotations

from typing import Any

from django.db.models import (
    Count,
    Exists,
    F,
    FilteredRelation,
    Max,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
)
from hypothesis import strategies as st

from .models import Author, Book, Genre, LentBook, Loan, Mark, Novel

# Few of each, so that what is asked for is there, and often changes.
names = st.sampled_from(["a", "b", "B"])
ids = st.integers(1, 4)
pages = st.sampled_from([1, 2])
truth = st.booleans()

Lookups = dict[str, st.SearchStrategy[Any]]

BOOK: Lookups = {
    "pk": ids,
    "pk__in": st.lists(ids, min_size=1, max_size=2),
    "pages": pages,
    "pages__in": st.lists(pages | st.none(), min_size=1, max_size=2),
    "pages__isnull": truth,
    "pages__gt": pages,
    "lent": truth,
    "title": names,
    "title__iexact": names,
    "loud_title": names,
    "note": names,
    "weight": st.just(F("pages")),
    "pages__range": st.just((1, F("weight"))),
    "author": ids,
    "author__isnull": truth,
    "author__name": names,
    "author__mentor": ids,
    "author__mentor__isnull": truth,
    "author__mentor__name": names,
    "author__pupils__name": names,
    "genres": ids,
    "genres__in": st.lists(ids, min_size=1, max_size=2),
    "genres__isnull": truth,
    "genres__name": names,
    "loan__isnull": truth,
    "loan__reader": names,
    "novel__plot": names,
    "novel__isnull": truth,
    "marks__text": names,
    "marks__isnull": truth,
}
AUTHOR: Lookups = {
    "pk": ids,
    "name": names,
    "mentor": ids,
    "mentor__isnull": truth,
    "mentor__name": names,
    "mentor__mentor": ids,
    "pupils": ids,
    "pupils__isnull": truth,
    "pupils__books__pages": pages,
    "books": ids,
    "books__author": ids,
    "books__isnull": truth,
    "books__pages": pages,
    "books__pages__isnull": truth,
    "books__title": names,
    "books__genres__name": names,
    "books__loan__isnull": truth,
    "books__loan__reader": names,
}
GENRE: Lookups = {"pk": ids, "name": names, "books": ids, "books__lent": truth, "books__author__name": names}
NOVEL: Lookups = {name: values for name, values in BOOK.items() if not name.startswith("novel")}
NOVEL |= {"plot": names, "book_ptr": ids}
LOAN: Lookups = {"reader": names, "book": ids, "book__author": ids, "book__pages": pages, "book__genres": ids}

MODELS: dict[type[Any], Lookups] = {
    Book: BOOK,
    Author: AUTHOR,
    Genre: GENRE,
    Novel: NOVEL,
    LentBook: BOOK,
    Loan: LOAN,
}
FIELDS: dict[type[Any], list[str]] = {
    Book: [
        "id",
        "title",
        "lent",
        "author",
        "author__name",
        "author__mentor__name",
        "genres__name",
        "loan__reader",
    ],
    Author: [
        "id",
        "name",
        "mentor__name",
        "books__title",
        "books__lent",
        "books__genres__name",
        "pupils__name",
    ],
    Genre: ["name", "books__title", "books__author__name"],
    Novel: ["plot", "title", "loud_title", "genres__name"],
    LentBook: ["title", "pages", "novel__plot", "marks__text"],
    Loan: ["reader", "book__title", "book__author__name"],
}
SELECTED = {
    Book: ["author", "author__mentor", "loan", "novel"],
    Author: ["mentor"],
    Genre: [],
    Novel: ["author"],
    LentBook: ["loan"],
    Loan: ["book__author"],
}
PREFETCHED: dict[type[Any], list[Any]] = {
    Book: [
        "genres",
        "author__books",
        "loan",
        "marks",
        Prefetch("genres", Genre.objects.filter(name="a"), "a_genres"),
    ],
    Author: [
        "pupils",
        "books__genres",
        "mentor__books",
        Prefetch("books", Book.objects.filter(pages=1), "thin"),
    ],
    Genre: [
        "books",
        "books__loan",
        Prefetch("books", Book.objects.select_related("author").filter(lent=True)),
    ],
    Novel: ["marks", "author"],
    LentBook: ["genres"],
    Loan: ["book__genres"],
}


def conditions(draw: st.DrawFn, model: type[Any], *, nested: bool = True) -> Any:
    """One to three lookups, or a subquery, put together in any way."""
    whole = _single(draw, model, nested)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        another = _single(draw, model, nested)
        how = draw(st.sampled_from("&&|^"))
        whole = whole & another if how == "&" else whole | another if how == "|" else whole ^ another
        whole = ~whole if draw(st.integers(0, 5)) == 0 else whole
    return whole


def _single(draw: st.DrawFn, model: type[Any], nested: bool) -> Any:
    if not nested or draw(st.integers(0, 5)):
        lookups = [*MODELS[model], *(2 * [name for name in MODELS[model] if name.endswith("__isnull")])]
        lookup = draw(st.sampled_from(lookups))
        return Q(**{lookup: draw(MODELS[model][lookup])})
    other = Book if model is Author else model
    rows = other.objects.filter(conditions(draw, other, nested=False))
    if model is not Author:
        return Q(pk__in=rows.values("pk"))
    return Q(Exists(rows.filter(author=OuterRef("pk")))) if draw(truth) else Q(pk__in=rows.values("author"))


@st.composite
def questions(draw: st.DrawFn) -> QuerySet[Any]:
    """A queryset whose rows come in an order that its result shows completely, or in none."""
    model = draw(st.sampled_from(list(MODELS)))
    queryset = model.objects.all()
    for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
        condition = conditions(draw, model)
        queryset = queryset.exclude(condition) if draw(st.integers(0, 3)) == 0 else queryset.filter(condition)
    shape = draw(st.sampled_from(["rows", "rows", "values", "values", "counts", "union", "annotated"]))
    if shape == "rows":
        queryset = queryset.order_by("pk")
        if selected := draw(
            st.lists(st.sampled_from(SELECTED[model]), max_size=2) if SELECTED[model] else st.just([])
        ):
            queryset = queryset.select_related(*selected)
        elif draw(truth):
            queryset = queryset.only("pk", FIELDS[model][0])
        queryset = queryset.prefetch_related(*draw(st.lists(st.sampled_from(PREFETCHED[model]), max_size=1)))
    else:
        fields = draw(st.lists(st.sampled_from(FIELDS[model]), min_size=1, max_size=3, unique=True))
        if shape == "counts":
            counted = draw(st.sampled_from([Count("pk"), Max("pk"), Count("pk", distinct=True)]))
            queryset = queryset.values(*fields).annotate(n=counted).order_by(*fields, "n")
        elif shape == "union":
            other = model.objects.filter(conditions(draw, model)).values(*fields)
            return queryset.values(*fields).union(other, all=draw(truth)).order_by(*fields)
        else:
            if shape == "annotated":
                queryset = queryset.annotate(**draw(st.sampled_from(annotations(model))))
                fields += [name for name in queryset.query.annotations if name != "thin"]
                fields += ["thin__title"] * ("thin" in queryset.query._filtered_relations)
            unseen = draw(st.sampled_from([[], [], ["-weight"], ["author__name"], ["loan__reader"]]))
            queryset = queryset.values(*fields).order_by(*(unseen if model is Book else []), *fields)
    if draw(truth):
        queryset = queryset.distinct()
    return queryset[draw(st.integers(0, 1)) : 3] if draw(st.integers(0, 3)) == 0 else queryset


def annotations(model: type[Any]) -> list[dict[str, Any]]:
    """Each time anew: Django changes a FilteredRelation that it is given."""
    books = Book.objects.filter(author=OuterRef("pk"))
    if model is Author:
        return [
            {"thin": FilteredRelation("books", condition=Q(books__pages=1))},
            {"longest": Subquery(books.order_by("-weight", "pk").values("title")[:1])},
            {"lends": Exists(books.filter(lent=True))},
            {"many": Count("books", filter=Q(books__lent=True))},
        ]
    if model is Book:
        marks = Mark.objects.filter(object_id=OuterRef("pk"), text="a")
        return [{"marked": Exists(marks)}, {"of_genre": Count("genres")}]
    return [{}]
