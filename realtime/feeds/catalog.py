"""Which feeds there are: validated create, read, change and delete, one transaction each.

Sync functions, each one unit of work for `Database.read` or `Database.write`. Shared by the API, the pages,
the admin and the commands, so that one rule holds everywhere. Values and positions are the store's business.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from realtime.errors import BadInput, Conflict, InvalidDraft, NotFound

from .access import Principal
from .models import SLUG_FORM, Feed
from .publication import State

TITLE_LIMIT = 200
LONGEST_RETENTION_S = 100 * 366 * 86_400.0
MOST_RETAINED = 2**31 - 1
# These would be hidden behind pages of the same address.
RESERVED_SLUGS = frozenset({"new"})

# Control characters other than tab and line ends, and halves of surrogate pairs: no database keeps them all.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


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
    """The feeds of those names, by name; names of nothing are left out. One query."""
    wanted = {slug for slug in slugs if is_slug(slug)}
    return {feed.slug: ref_of(feed) for feed in Feed.objects.filter(slug__in=wanted)} if wanted else {}


def find_readable(slug: str, principal: Principal) -> FeedRef:
    """The feed of that name if `principal` may read it; see `readable`."""
    return readable(find_feeds([slug]).get(slug), principal)


def readable(feed: FeedRef | None, principal: Principal) -> FeedRef:
    """The feed, if there is one and `principal` may read it. The one rule of all doors; reads nothing.

    Unknown and unreadable are the same NotFound, so that nobody learns which private names exist.
    """
    if feed is not None and principal.may_read(public=feed.public):
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

    `search` is found in names and titles, whatever the case. Raises BadInput on one that cannot be printed.
    """
    if not is_printable(search):
        raise BadInput("search: contains characters that cannot be printed.", field="search")
    feeds: QuerySet[Feed] = Feed.objects.order_by("slug")
    if not principal.may_read(public=False):
        feeds = feeds.filter(public=True)
    if search:
        feeds = feeds.filter(Q(slug__icontains=search) | Q(title__icontains=search))
    if kind:
        feeds = feeds.filter(kind=kind)
    return [_row_of(feed) for feed in feeds[skip : skip + limit]], feeds.count()


def create_feed(
    slug: str,
    *,
    title: str = "",
    public: bool = False,
    latest_only: bool = False,
    retention_count: int | None = None,
    retention_age_s: float | None = None,
) -> FeedRef:
    """A new push feed; an empty title becomes the slug. Raises InvalidDraft, or Conflict on a taken slug."""
    problems: dict[str, str] = {}
    check_slug(slug, problems, reserved=RESERVED_SLUGS)
    check_text(title, problems, field="title", limit=TITLE_LIMIT)
    _check_retention(retention_count, retention_age_s, problems)
    if problems:
        raise InvalidDraft(problems)
    try:
        with transaction.atomic():
            feed = Feed.objects.create(
                slug=slug,
                title=title.strip() or slug,
                public=public,
                latest_only=latest_only,
                retention_count=retention_count,
                retention_age_s=retention_age_s,
            )
    except IntegrityError:
        raise Conflict(f"slug: a feed named {slug} exists already.", field="slug") from None
    return ref_of(feed)


def change_feed(
    slug: str,
    *,
    title: str | Keep = KEEP,
    public: bool | Keep = KEEP,
    latest_only: bool | Keep = KEEP,
    retention_count: int | Keep | None = KEEP,
    retention_age_s: float | Keep | None = KEEP,
) -> FeedRef:
    """Change what is given of any feed; retention None is the site's. Raises NotFound or InvalidDraft."""
    with transaction.atomic():
        feed = _locked(slug)
        problems: dict[str, str] = {}
        if title is not KEEP:
            check_text(title, problems, field="title", limit=TITLE_LIMIT)
            feed.title = title.strip() or slug
        if public is not KEEP:
            feed.public = public
        if latest_only is not KEEP:
            feed.latest_only = latest_only
        if retention_count is not KEEP:
            feed.retention_count = retention_count
        if retention_age_s is not KEEP:
            feed.retention_age_s = retention_age_s
        _check_retention(feed.retention_count, feed.retention_age_s, problems)
        if problems:
            raise InvalidDraft(problems)
        feed.save(update_fields=["title", "public", "latest_only", "retention_count", "retention_age_s"])
    return ref_of(feed)


def delete_feed(slug: str) -> None:
    """Delete a push feed with its journal. Raises NotFound, or Conflict for a feed that a source fills."""
    with transaction.atomic():
        feed = _locked(slug)
        if feed.kind == Feed.Kind.SOURCE:
            raise Conflict("A source fills this feed: take the feed out of the source, or delete the source.")
        feed.delete()


def is_slug(text: str) -> bool:
    """Whether a feed or source could have this name at all."""
    try:
        SLUG_FORM(text)
    except ValidationError:
        return False
    return True


def is_printable(text: str) -> bool:
    """Whether every database keeps this text as it is."""
    return _UNPRINTABLE.search(text) is None


def check_slug(
    slug: str, problems: dict[str, str], *, field: str = "slug", reserved: Collection[str] = RESERVED_SLUGS
) -> None:
    """Note under `field` what is wrong with a name that is to become part of an address."""
    if not is_slug(slug):
        problems[field] = str(SLUG_FORM.message)
    elif slug in reserved:
        problems[field] = f"The name {slug} is an address of its own here. Choose another."


def check_text(text: str, problems: dict[str, str], *, field: str, limit: int) -> None:
    """Note under `field` what no database keeps: too many characters, or some that cannot be printed."""
    if len(text) > limit:
        problems[field] = f"At most {limit:,} characters; these are {len(text):,}."
    elif not is_printable(text):
        problems[field] = "Contains characters that cannot be printed."


def _check_retention(count: Any, age_s: Any, problems: dict[str, str]) -> None:
    if count is not None and not 1 <= count <= MOST_RETAINED:
        problems["retention_count"] = (
            f"Give a number of publications from 1 to {MOST_RETAINED:,}, or nothing."
        )
    if age_s is not None and not (math.isfinite(age_s) and 1 <= age_s <= LONGEST_RETENTION_S):
        problems["retention_age_s"] = f"Give seconds from 1 to {LONGEST_RETENTION_S:,.0f}, or nothing."


def _locked(slug: str) -> Feed:
    feed = Feed.objects.select_for_update().filter(slug=slug).first() if is_slug(slug) else None
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
        feed.retention_count,
        feed.retention_age_s,
    )


def _row_of(feed: Feed) -> FeedRow:
    state: Any = feed.state
    return FeedRow(
        ref_of(feed), feed.epoch, feed.offset, state, feed.last_ok_at, feed.next_poll_at, feed.error
    )
