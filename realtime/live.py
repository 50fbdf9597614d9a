"""Headwater's own live queries, on its own rows: the board and the sources page are live through them.

None of them counts feeds that live queries fill: a query's result must not be a reason to evaluate it again.
"""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Any, Literal

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Case, Count, ExpressionWrapper, F, JSONField, QuerySet, Value, When
from django.db.models.functions import TruncMinute
from pydantic import AfterValidator, Field, StringConstraints

from realtime.errors import NotFound
from realtime.feeds.access import ANONYMOUS, principal_of_user
from realtime.feeds.board import SEARCH_LIMIT, TILES_PER_PAGE, on_the_board
from realtime.feeds.catalog import find_readable
from realtime.feeds.checks import is_printable
from realtime.feeds.models import Feed, JournalEntry
from realtime.queries.registry import live_query
from realtime.sources.models import Source
from realtime.sources.stored import SOURCES_PER_PAGE, search_sources

LAST_MINUTES = 60
User = AbstractBaseUser | AnonymousUser
Rows = QuerySet[Any, Any]


def _printable(text: str) -> str:
    if not is_printable(text):
        raise ValueError("contains characters that cannot be printed")
    return text


Search = Annotated[str, StringConstraints(max_length=SEARCH_LIMIT), AfterValidator(_printable)]
Page = Annotated[int, Field(ge=1, le=999_999)]
Scope = Literal["public", "all"]
Name = Annotated[str, StringConstraints(max_length=256), AfterValidator(_printable)]
Newest = Annotated[int, Field(ge=1, le=1000)]


def may_see_scope(user: User, scope: Scope) -> bool:
    """Public feeds: everybody. All of them: whoever is signed in."""
    return scope == "public" or user.is_authenticated


def may_read_feed(user: User, of: str) -> bool:
    """Whether the user may read the feed of that name, by the rule of all doors."""
    try:
        find_readable(of, principal_of_user(user) if isinstance(user, AbstractBaseUser) else ANONYMOUS)
    except NotFound:
        return False
    return True


@live_query("feeds", params={"scope": Scope, "search": Search, "page": Page}, who=may_see_scope, key="slug")
def feeds(scope: Scope = "public", search: str = "", page: int = 1) -> Rows:
    """One page of the board: name, title and whether it is public of each feed, in order."""
    first = (page - 1) * TILES_PER_PAGE
    shown = on_the_board(private=scope == "all", search=search)
    return shown.values("slug", "title", "public")[first : first + TILES_PER_PAGE]


@live_query("feeds-by-state", params={"scope": Scope, "search": Search}, who=may_see_scope, key="state")
def feeds_by_state(scope: Scope = "public", search: str = "") -> Rows:
    """How many feeds of the board are fresh, stale, failing and paused; a state of none is left out."""
    shown = on_the_board(private=scope == "all", search=search)
    return shown.order_by("state").values("state").annotate(feeds=Count("pk"))


@live_query(
    "publications",
    params={"of": Name, "newest": Newest},
    reads=[Feed],
    who=may_read_feed,
    key="offset",
)
def publications(of: str, newest: int = 20) -> Rows:
    """The newest publications of a feed, newest first: offset, moment and value of each."""
    # Kept as JSON text, which is read as what it says; the database is not asked to understand it.
    value = ExpressionWrapper(F("data"), output_field=JSONField())
    return _entries(of).order_by("-offset").values("offset", "published_at", value=value)[:newest]


@live_query("publications-per-minute", params={"of": Name}, reads=[Feed], who=may_read_feed, key="minute")
def publications_per_minute(of: str) -> Rows:
    """How many publications a feed had in each of the last sixty minutes that had any, newest first."""
    minutes = (
        _entries(of).order_by().annotate(minute=TruncMinute("published_at", tzinfo=UTC)).values("minute")
    )
    return minutes.annotate(publications=Count("pk")).order_by("-minute")[:LAST_MINUTES]


def _entries(of: str) -> QuerySet[JournalEntry]:
    """The journal of that feed, which other feeds' publications are known not to touch."""
    entries = JournalEntry.objects.filter(feed__slug=of).exclude(feed__kind=Feed.Kind.QUERY)
    feed_id = Feed.objects.filter(slug=of).values_list("pk", flat=True).first()
    return entries if feed_id is None else entries.filter(feed=feed_id)


@live_query("sources", params={"search": Search, "page": Page}, who="staff", key=("slug", "feed"))
def sources(search: str = "", page: int = 1) -> Rows:
    """One page of the sources by name, with the health of each: a row for every feed that one fills."""
    first = (page - 1) * SOURCES_PER_PAGE
    on_page = search_sources(search).values("pk")[first : first + SOURCES_PER_PAGE]
    state = Case(
        When(enabled=False, then=Value("paused")),
        When(failures__gt=0, then=Value("failing")),
        When(last_polled_at=None, then=Value("stale")),
        default=Value("fresh"),
    )
    rows: Rows = (
        Source.objects.filter(pk__in=on_page)
        .order_by("slug", "extractions__feed__slug")
        .values(
            *("slug", "title", "method", "url", "interval_s", "enabled"),
            *("last_polled_at", "last_duration_ms", "next_poll_at", "last_error"),
            state=state,
            feed=F("extractions__feed__slug"),
        )
    )
    return rows
