"""Which feeds there are: validated create, read, change and delete, one transaction each.

Sync functions, each one unit of work for `Database.read` or `Database.write`. Shared by the API, the pages,
the admin and the commands, so that one rule holds everywhere. Values and positions are the store's business.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from realtime.errors import BadInput, Conflict, InvalidDraft, NotFound

from .access import Principal
from .checks import TITLE_LIMIT, check_retention, check_slug, check_text, is_name, is_printable
from .models import Feed
from .publication import State

# Of these there are as many as clients have asked for.
OPENED_KINDS = (Feed.Kind.CHANNEL, Feed.Kind.QUERY)


class Keep(Enum):
    """Leaves a field as it is, where None means something of its own."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


@dataclass(frozen=True, slots=True)
class FeedRef:
    """A feed's identity and description, without its stream."""

    id: int
    slug: str
    title: str
    kind: str
    public: bool
    latest_only: bool = False
    presence: bool = False
    join_leave: bool = False
    client_publish: bool = False
    recovery: str = "stream"
    retention_count: int | None = None
    retention_age_s: float | None = None


@dataclass(frozen=True, slots=True)
class FeedRow:
    """A feed as lists show it: its description, position and health, without its value."""

    ref: FeedRef
    epoch: str
    offset: int
    state: State
    last_ok_at: datetime | None
    next_poll_at: datetime | None
    error: str


def find_feed(slug: str) -> FeedRef:
    """The feed of that name; NotFound for any other text."""
    found = find_feeds([slug])
    if slug not in found:
        raise NotFound("There is no feed of that name.", field="slug")
    return found[slug]


def find_feeds(slugs: Collection[str]) -> dict[str, FeedRef]:
    """The feeds of those names, channels too, by name; names of nothing are left out. One query."""
    wanted = {slug for slug in slugs if is_name(slug)}
    return {feed.slug: ref_of(feed) for feed in Feed.objects.filter(slug__in=wanted)} if wanted else {}


def find_readable(slug: str, principal: Principal) -> FeedRef:
    """The feed of that name if `principal` may read it; see `readable`."""
    return readable(find_feeds([slug]).get(slug), principal)


def readable(feed: FeedRef | None, principal: Principal) -> FeedRef:
    """The feed, if there is one and `principal` may read it. The one rule of all doors; reads nothing.

    Unknown and unreadable are the same NotFound, so that nobody learns which private names exist. Who may
    read a live query is for `demand.Opening` alone to say, which also has it filled.
    """
    if (
        feed is not None
        and feed.kind != Feed.Kind.QUERY
        and principal.may_read(public=feed.public, channel=feed.kind == Feed.Kind.CHANNEL)
    ):
        return feed
    if principal.kind == "anonymous":
        hint = " Feeds that are not public are seen only when you are signed in or send a token."
    elif principal.may_read(public=False):
        hint = ""
    else:
        hint = " This token reads public feeds only: the scope `read` reads all."
    raise NotFound(f"There is no feed of that name.{hint}", field="slug")


def readable_feeds(
    principal: Principal, *, search: str = "", kind: str = "", limit: int, skip: int = 0
) -> tuple[list[FeedRow], int]:
    """One page of the feeds that `principal` may read, by name, and how many there are in all.

    Channels and live queries are left out unless they are the `kind` that is asked for; queries are shown to
    those who may manage feeds, because others may read each or not.
    `search` is found in names and titles, whatever the case. Raises BadInput on one that cannot be printed.
    """
    if not is_printable(search):
        raise BadInput("search: contains characters that cannot be printed.", field="search")
    feeds: QuerySet[Feed] = Feed.objects.order_by("slug")
    feeds = feeds.filter(kind=kind) if kind else feeds.exclude(kind__in=OPENED_KINDS)
    if kind == Feed.Kind.QUERY and not principal.may_manage:
        feeds = feeds.none()
    elif not principal.may_read(public=False, channel=kind == Feed.Kind.CHANNEL):
        feeds = feeds.filter(public=True)
    if search:
        feeds = feeds.filter(Q(slug__icontains=search) | Q(title__icontains=search))
    return [_row_of(feed) for feed in feeds[skip : skip + limit]], feeds.count()


def create_feed(
    slug: str,
    *,
    title: str = "",
    public: bool = False,
    latest_only: bool = False,
    presence: bool = False,
    join_leave: bool = False,
    client_publish: bool = False,
    recovery: str = Feed.Recovery.STREAM,
    retention_count: int | None = None,
    retention_age_s: float | None = None,
) -> FeedRef:
    """A new push feed; an empty title becomes the slug. Raises InvalidDraft, or Conflict on a taken slug."""
    problems: dict[str, str] = {}
    check_slug(slug, problems)
    check_text(title, problems, field="title", limit=TITLE_LIMIT)
    feed = Feed(
        slug=slug,
        title=title.strip() or slug,
        public=public,
        latest_only=latest_only,
        presence=presence,
        join_leave=join_leave,
        client_publish=client_publish,
        recovery=recovery,
        retention_count=retention_count,
        retention_age_s=retention_age_s,
    )
    _check_rules(feed, problems)
    if problems:
        raise InvalidDraft(problems)
    try:
        with transaction.atomic():
            feed.save(force_insert=True)
    except IntegrityError:
        raise Conflict(f"slug: a feed named {slug} exists already.", field="slug") from None
    return ref_of(feed)


def change_feed(
    slug: str,
    *,
    title: str | Keep = KEEP,
    public: bool | Keep = KEEP,
    latest_only: bool | Keep = KEEP,
    presence: bool | Keep = KEEP,
    join_leave: bool | Keep = KEEP,
    client_publish: bool | Keep = KEEP,
    recovery: str | Keep = KEEP,
    retention_count: int | Keep | None = KEEP,
    retention_age_s: float | Keep | None = KEEP,
) -> FeedRef:
    """Change what is given of any feed but a channel or a live query; retention None is the site's.

    Raises NotFound, InvalidDraft, and Conflict for those.
    """
    given = {
        "public": public,
        "latest_only": latest_only,
        "presence": presence,
        "join_leave": join_leave,
        "client_publish": client_publish,
        "recovery": recovery,
        "retention_count": retention_count,
        "retention_age_s": retention_age_s,
    }
    with transaction.atomic():
        feed = _locked(slug)
        if feed.kind == Feed.Kind.CHANNEL:
            raise Conflict("The rules of a channel are its namespace's: change HEADWATER_NAMESPACES.")
        if feed.kind == Feed.Kind.QUERY:
            raise Conflict("This feed is as its live query is declared: change it there.")
        problems: dict[str, str] = {}
        if title is not KEEP:
            check_text(title, problems, field="title", limit=TITLE_LIMIT)
            feed.title = title.strip() or slug
        for name, value in given.items():
            if value is not KEEP:
                setattr(feed, name, value)
        _check_rules(feed, problems)
        if problems:
            raise InvalidDraft(problems)
        feed.save(update_fields=["title", *given])
    return ref_of(feed)


def delete_feed(slug: str) -> None:
    """Delete a feed with its journal. Raises NotFound, or Conflict for a source's.

    Channels and live queries are opened again when somebody asks for them.
    """
    with transaction.atomic():
        feed = _locked(slug)
        if feed.kind == Feed.Kind.SOURCE:
            raise Conflict("A source fills this feed: take the feed out of the source, or delete the source.")
        feed.delete()


def check_publishable(kind: str, *, field: str) -> None:
    """Raises Conflict for a kind of feed that something here fills by itself."""
    if kind == Feed.Kind.SOURCE:
        raise Conflict("A source fills this feed: nothing else can publish to it.", field=field)
    if kind == Feed.Kind.QUERY:
        raise Conflict("A live query fills this feed: nothing else can publish to it.", field=field)


def _check_rules(feed: Feed, problems: dict[str, str]) -> None:
    if feed.client_publish and feed.kind != Feed.Kind.PUSH:
        problems["client_publish"] = "Only for push feeds: this one is filled by a source."
    if feed.join_leave and not feed.presence:
        problems["join_leave"] = "Only together with presence."
    if feed.recovery not in Feed.Recovery.values:
        problems["recovery"] = f"Give one of {', '.join(Feed.Recovery.values)}."
    check_retention(feed.retention_count, feed.retention_age_s, problems)


def _locked(slug: str) -> Feed:
    feed = Feed.objects.select_for_update().filter(slug=slug).first() if is_name(slug) else None
    if feed is None:
        raise NotFound("There is no feed of that name.", field="slug")
    return feed


def ref_of(feed: Feed) -> FeedRef:
    """The row's description as a value that may leave its thread."""
    return FeedRef(
        feed.pk,
        feed.slug,
        feed.title,
        feed.kind,
        feed.public,
        feed.latest_only,
        feed.presence,
        feed.join_leave,
        feed.client_publish,
        feed.recovery,
        feed.retention_count,
        feed.retention_age_s,
    )


def _row_of(feed: Feed) -> FeedRow:
    state: Any = feed.state
    return FeedRow(
        ref_of(feed), feed.epoch, feed.offset, state, feed.last_ok_at, feed.next_poll_at, feed.error
    )
