"""The channels of SDK clients, as feeds: their names, the namespaces that allow them, and the rules there.

`feed:<slug>` is the feed of that name, with the rules of its row. So is a name that a `demand.Opener` knows,
but `demand.Opening` alone opens it and says who may read it. Any other name is a feed of kind "channel" whose
slug is the name itself, behind a colon if it has none, so that no channel takes a feed's name. It is opened
on first use where HEADWATER_NAMESPACES has its namespace, with the rules of that namespace, and deleted when
nobody has used it for long. Sync functions, each one unit of work for `Database.read` or `Database.write`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from realtime.conf import Rules, conf
from realtime.errors import BadInput, HeadwaterError, NotFound, Unavailable

from .catalog import OPENED_KINDS, FeedRef, ref_of
from .checks import TITLE_LIMIT, is_name, is_slug
from .database import Database
from .demand import opener_of
from .models import Feed

logger = logging.getLogger(__name__)

FEED_NAMESPACE = "feed"
NAME_LIMIT = 255
# That somebody uses a channel is noted at most this often; see `retention.UNUSED_S`, which is far longer.
NOTED_EVERY = timedelta(hours=1)
KEPT_EVERY_S = 60.0

__all__ = ["Channel", "Name", "Rules", "find_channels", "open_channel", "parse_name"]


@dataclass(frozen=True, slots=True)
class Name:
    """What a channel's name says.

    namespace   what stands before the first colon, without the `$`; "" when there is none
    slug        of the feed behind it
    rules       the namespace's; None for `feed:<slug>` and live queries, where they are the row's
    private     it begins with `$`: only with a subscription token
    users       `name#u1,u2`: nobody but these; None: no such limit
    """

    text: str
    namespace: str
    slug: str
    rules: Rules | None
    private: bool
    users: frozenset[str] | None

    @property
    def is_feed(self) -> bool:
        """Whether its rules are the row's: `feed:<slug>`, and what is opened on demand."""
        return self.rules is None

    @property
    def on_demand(self) -> bool:
        """Whether it is opened by `demand.Opening`, and by nothing here."""
        return self.rules is None and self.namespace != FEED_NAMESPACE


@dataclass(frozen=True, slots=True)
class Channel:
    """A name, the feed behind it, and the rules that hold now."""

    name: Name
    feed: FeedRef
    rules: Rules


def parse_name(text: str) -> Name:
    """Read a channel's name; reads no database.

    Raises BadInput for what no channel can be called, and NotFound when no namespace allows it (both name
    `channel`).
    """
    if not is_name(text) or len(text) > NAME_LIMIT:
        raise BadInput(
            f'channel: a name has 1 to {NAME_LIMIT} printable ASCII characters, without " and \\.',
            field="channel",
        )
    if opener_of(text) is not None:
        return Name(text, text.partition(":")[0], text, None, private=False, users=None)
    private = text.startswith("$")
    head, boundary, users = text.rpartition("#")
    # A user's name may hold colons.
    before, colon, _ = (head if boundary else text).removeprefix("$").partition(":")
    namespace = before if colon else ""
    if namespace == FEED_NAMESPACE:
        slug = text.removeprefix(f"{FEED_NAMESPACE}:")
        if not is_slug(slug):
            raise _unknown()
        return Name(text, namespace, slug, None, private=False, users=None)
    rules = conf().namespaces.get(namespace)
    if rules is None or text.startswith(":"):
        raise _unknown()
    only = frozenset(filter(None, users.split(","))) if boundary else None
    return Name(text, namespace, text if ":" in text else f":{text}", rules, private, only)


def channel_of_slug(slug: str) -> str:
    """The name by which SDK clients know the feed of that slug: what `parse_name` makes of it, back."""
    return slug.removeprefix(":") if ":" in slug else f"{FEED_NAMESPACE}:{slug}"


def rules_of(name: Name) -> Rules:
    """The rules under which a channel that is not open would be opened. Raises NotFound for `feed:<slug>`."""
    if name.rules is None:
        raise _unknown()
    return name.rules


def find_channels(names: Collection[str]) -> dict[str, Channel]:
    """The channels of those names that are open, by name; `open_channel` opens the others, or says why not.

    Left out are names that mean nothing or are opened on demand, channels whose row is older than their
    namespace's rules, and those whose use was not noted for an hour. One query.
    """
    parsed = {}
    for text in names:
        try:
            parsed[text] = parse_name(text)
        except HeadwaterError:
            continue
    if not parsed:
        return {}
    feeds = {feed.slug: feed for feed in Feed.objects.filter(slug__in={n.slug for n in parsed.values()})}
    noted_after = timezone.now() - NOTED_EVERY
    found = {}
    for text, name in parsed.items():
        feed = feeds.get(name.slug)
        if feed is None or (feed.kind == Feed.Kind.CHANNEL) != (name.rules is not None) or name.on_demand:
            continue
        if name.rules is None or not _is_behind(feed, _columns(name, name.rules), noted_after):
            found[text] = _channel(name, feed)
    return found


def open_channel(text: str) -> Channel:
    """The channel of that name; a feed for it is made if there is none, once, however many ask.

    A row older than its namespace's rules takes them over. Raises BadInput and NotFound as `parse_name` does,
    and NotFound for `feed:<slug>` without such a feed and for a name that another kind of feed has.
    """
    name = parse_name(text)
    if name.rules is None:
        feed = Feed.objects.filter(slug=name.slug).exclude(kind__in=OPENED_KINDS).first()
        if feed is None:
            raise _unknown()
        return _channel(name, feed)
    now, columns = timezone.now(), _columns(name, name.rules)
    with transaction.atomic():
        # Under the row's lock: whoever deletes what is unused has seen the use, or has deleted it before.
        feed, _ = Feed.objects.select_for_update().get_or_create(
            slug=name.slug,
            defaults={
                "kind": Feed.Kind.CHANNEL,
                "title": name.slug[:TITLE_LIMIT],
                "used_at": now,
                **columns,
            },
        )
        if feed.kind != Feed.Kind.CHANNEL:
            raise _unknown()
        if _is_behind(feed, columns, now - NOTED_EVERY):
            for field, value in columns.items():
                setattr(feed, field, value)
            feed.used_at = now
            feed.save(update_fields=[*columns, "used_at"])
    return _channel(name, feed)


def feed_rules(feed: FeedRef) -> Rules:
    """What SDK clients may do on `feed:<slug>`. Whether they may read it is `catalog.readable`'s to say."""
    return Rules(
        subscribe="anybody" if feed.public else "token",
        publish="subscribers" if feed.client_publish else "nobody",
        presence=feed.presence,
        join_leave="asked" if feed.join_leave else "off",
        history=True,
        history_size=feed.retention_count or conf().retention_count,
        history_age_s=feed.retention_age_s or conf().retention_age_s,
        mode="cache" if feed.recovery == Feed.Recovery.CACHE else "stream",
    )


def unnoted(feed_ids: Collection[int], now: datetime) -> list[int]:
    """The channels among these feeds whose use was not noted for an hour."""
    rows = Feed.objects.filter(pk__in=feed_ids, kind=Feed.Kind.CHANNEL, used_at__lt=now - NOTED_EVERY)
    return list(rows.values_list("pk", flat=True))


def note_use(feed_ids: Collection[int], now: datetime) -> None:
    """These channels are in use now."""
    Feed.objects.filter(pk__in=feed_ids, kind=Feed.Kind.CHANNEL).update(used_at=now)


async def keep_in_use(database: Database, watched: Callable[[], Collection[int]]) -> None:
    """Note every minute that what is watched here is in use, for ever: it is never deleted as unused."""
    while True:
        await asyncio.sleep(KEPT_EVERY_S)
        feed_ids = list(watched())
        if not feed_ids:
            continue
        now = timezone.now()
        try:
            stale = await database.read(unnoted, feed_ids, now)
            if stale:
                await database.write(note_use, stale, now)
        except Unavailable:
            logger.warning("use_not_noted channels=%d", len(feed_ids))


def _channel(name: Name, feed: Feed) -> Channel:
    ref = ref_of(feed)
    return Channel(name, ref, name.rules if name.rules is not None else feed_rules(ref))


def _columns(name: Name, rules: Rules) -> dict[str, Any]:
    """What the row of a channel tells those who know no rules: the plain doors and the trimming."""
    return {
        "public": rules.subscribe == "anybody" and not name.private and name.users is None,
        "retention_count": rules.history_size,
        "retention_age_s": rules.history_age_s,
    }


def _is_behind(feed: Feed, columns: Mapping[str, Any], noted_after: datetime) -> bool:
    """Whether a channel's row has yet to be told of its namespace's rules, or that it is in use."""
    if feed.used_at is None or feed.used_at < noted_after:
        return True
    return any(getattr(feed, field) != value for field, value in columns.items())


def _unknown() -> NotFound:
    return NotFound("There is no channel of that name, and no namespace for it.", field="channel")
