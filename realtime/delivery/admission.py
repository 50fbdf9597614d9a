"""Who may watch what: the checks that the plain WebSocket and SSE make before anything is sent, and again.

A page of a foreign origin gets in only with a token of its own or when its origin is in
HEADWATER_ALLOWED_ORIGINS: the session cookie that a browser attaches by itself never helps it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from realtime.conf import conf
from realtime.errors import BadInput, NotAllowed, NotFound, NotSignedIn, TooManyFeeds
from realtime.feeds.access import Principal, principal_of_scope
from realtime.feeds.catalog import FeedRef, find_feeds, readable
from realtime.feeds.demand import Opening, name_with, opener_of
from realtime.feeds.position import Position, parse_position
from realtime.feeds.runtime import Feeds
from realtime.feeds.shared_reads import SharedReads

from .watching import Want

# Of an address, what is said to the door; the rest names a feed that is opened on demand.
OWN_PARAMETERS = frozenset({"since", "token", "feed", "delta"})

Scope = Mapping[str, Any]
Asked = tuple[str, Position | None]
_Secret = tuple[Callable[[str], Principal], str]  # what looks it up, and a token or a session's key


def header(scope: Scope, name: bytes) -> str | None:
    """The first header of that (lower-case) name."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin1")
    return None


def query(scope: Scope) -> list[tuple[str, str]]:
    """The query string's pairs. Raises BadInput when there are far too many or it is not UTF-8."""
    text = bytes(scope.get("query_string", b"")).decode("latin1")
    try:
        return parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=conf().feeds_per_socket + 100
        )
    except ValueError:
        raise BadInput("The query string has too many parts or is not UTF-8.", field="query") from None


def asked_for_one(scope: Scope, slug: str, *, resumed: Position | None = None) -> list[Asked]:
    """One feed, from `resumed` on or else from `?since=` on if it is given. Raises BadInput naming `since`.

    The parameters of a feed that is opened on demand may stand in the address as well as in its name.
    """
    pairs = query(scope)
    since = [value for name, value in pairs if name == "since"]
    if opener_of(slug) is not None:
        slug = name_with(slug, [pair for pair in pairs if pair[0] not in OWN_PARAMETERS])
    if resumed is not None or not since:
        return [(slug, resumed)]
    if len(since) > 1:
        raise BadInput("since: give one position.", field="since")
    return [(slug, parse_position(since[0]))]


def asked_for_many(scope: Scope) -> list[Asked]:
    """The feeds of `?feed=a&feed=b@<epoch>:<offset>`. Raises BadInput naming `feed`, and TooManyFeeds."""
    asked: dict[str, Position | None] = {}
    for name, value in query(scope):
        if name == "since":
            raise BadInput("since: with several feeds, give feed=<slug>@<epoch>:<offset>.", field="since")
        if name != "feed":
            continue
        slug, at, position = value.rpartition("@") if "@" in value else (value, "", "")
        if slug in asked:
            raise BadInput(f"feed: {slug[:100]} is named twice.", field="feed")
        asked[slug] = parse_position(position, field="feed") if at else None
    if not asked:
        raise BadInput("feed: name at least one, as ?feed=<slug>&feed=<slug>.", field="feed")
    if len(asked) > conf().feeds_per_socket:
        raise TooManyFeeds(
            f"feed: {len(asked)} feeds; one socket may watch {conf().feeds_per_socket}.", field="feed"
        )
    return list(asked.items())


def by_rows(scope: Scope) -> bool:
    """Whether updates are to say which rows they change: `?delta=rows`. Raises BadInput naming `delta`."""
    asked = [value for name, value in query(scope) if name == "delta"]
    if asked not in ([], ["rows"]):
        raise BadInput('delta: give "rows", once, or leave it out.', field="delta")
    return bool(asked)


class Admission:
    """Lets in, on one loop. Look-ups that are asked for at the same time are one read for all who ask."""

    def __init__(self, feeds: Feeds) -> None:
        self._database = feeds.database
        self._opening = Opening.of(feeds)
        self._feeds = SharedReads(self._load_feeds, batch_limit=500)
        self._principals = SharedReads(self._load_principals, batch_limit=50)

    @classmethod
    def of(cls, feeds: Feeds) -> Admission:
        """The one of these feeds."""
        return feeds.part(cls)

    async def admit(self, scope: Scope, asked: Sequence[Asked]) -> tuple[Principal, list[Want]]:
        """Who this is and what is to be watched, in the order asked for and under its true names.

        Raises NotSignedIn (a bad token), NotAllowed (a foreign origin), NotFound (no such feed, or none that
        this principal may know of), BadInput (a host that this site does not answer to, a parameter of a feed
        that is opened on demand, or one feed by two names) and Unavailable.
        """
        check_host(scope)
        principal = await principal_of_scope(scope, self)
        if principal.kind != "token":
            check_origin(scope)
        answers = {slug: self._feeds.ask(slug) for slug, _ in asked if opener_of(slug) is None}
        opened = await self._open([slug for slug, _ in asked if slug not in answers], principal)
        wants: dict[int, Want] = {}
        for slug, since in asked:
            try:
                feed = opened[slug] if slug in opened else readable(await answers[slug], principal)
            except NotFound as error:
                raise _unknown(slug, error) from None
            if feed.id in wants:
                raise BadInput(f"feed: {feed.slug} is named twice.", field="feed")
            wants[feed.id] = Want(feed.id, feed.slug, since, feed.latest_only)
        return principal, list(wants.values())

    async def _open(self, names: Sequence[str], principal: Principal) -> dict[str, FeedRef]:
        """Those that are opened on demand, side by side."""
        if not names:
            return {}
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {name: group.create_task(self._open_one(name, principal)) for name in names}
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return {name: task.result() for name, task in tasks.items()}

    async def _open_one(self, name: str, principal: Principal) -> FeedRef:
        try:
            return await self._opening.open(name, principal)
        except NotFound as error:
            raise _unknown(name, error) from None

    async def read(self, unit: Callable[[str], Principal], secret: str) -> Principal:
        """`unit(secret)`, shared with all who come with the same secret now."""
        principal = await self._principals.ask((unit, secret))
        assert principal is not None
        if isinstance(principal, NotSignedIn):
            raise NotSignedIn(principal.message, field=principal.field)
        return principal

    async def _load_feeds(self, slugs: Sequence[str]) -> dict[str, FeedRef]:
        return await self._database.read(find_feeds, slugs)

    async def _load_principals(self, keys: Sequence[_Secret]) -> dict[_Secret, Principal | NotSignedIn]:
        return await self._database.read(_look_up, keys)


def _unknown(slug: str, error: NotFound) -> NotFound:
    return NotFound(f"feed {slug[:100]!r}: {error.message}", field="feed")


def _look_up(keys: Sequence[_Secret]) -> dict[_Secret, Principal | NotSignedIn]:
    found: dict[_Secret, Principal | NotSignedIn] = {}
    for unit, secret in keys:
        try:
            found[unit, secret] = unit(secret)
        except NotSignedIn as error:
            found[unit, secret] = error
    return found


def check_host(scope: Scope) -> None:
    """Raises BadInput for a Host that ALLOWED_HOSTS does not have, as Django does for pages.

    Without this, a page whose name was rebound to this address would count as our own.
    """
    host = header(scope, b"host")
    if host is not None and not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
        raise BadInput(
            "Host: this site does not answer to that name (HEADWATER_ALLOWED_HOSTS).", field="host"
        )


def check_origin(scope: Scope) -> None:
    """Raises NotAllowed for a page of a foreign origin. Programs send no Origin and pass."""
    origin = header(scope, b"origin")
    if origin is None or origin in conf().allowed_origins:
        return
    host = header(scope, b"host")
    if host is None or origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
        raise NotAllowed(
            "Origin: pages of other sites need a token, or their origin in HEADWATER_ALLOWED_ORIGINS.",
            field="origin",
        )


def allowed_origin(scope: Scope) -> str | None:
    """The foreign origin that may read our answers, if this request comes from one."""
    origin = header(scope, b"origin")
    return origin if origin in conf().allowed_origins else None
