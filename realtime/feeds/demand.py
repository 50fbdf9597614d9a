"""Feeds that are opened when somebody asks for them, and filled only while somebody watches.

Their names begin with a prefix and a colon, as `query:open-orders?customer=42`. The room that fills them says
who may read them and what their one true name is: it registers an `Opener`. Whoever lets somebody read one by
name asks `Opening`, whose answer is the right to read as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlencode

from django.db import InterfaceError, OperationalError
from django.utils import timezone

from realtime.errors import BadInput, HeadwaterError, NotFound, Unavailable

from .access import Principal
from .catalog import FeedRef
from .database import Database
from .shared_reads import SharedReads
from .standing import Standing, standings_named, standings_of, want, want_again

if TYPE_CHECKING:
    from .runtime import Feeds

logger = logging.getLogger(__name__)

# A process says every `WANTED_AGAIN_S` what is watched there; after `WANTED_S` of silence, nobody watches it.
WANTED_S = 15.0
WANTED_AGAIN_S = 5.0
# Engines are in this group of the layer: what is wanted, and what Django's signals say of rows.
ENGINES = "engines"
WANTED_SIGNAL = "query.wanted"
# So long who asks waits for the present value, with ever longer pauses between two looks. SDKs give each
# command 5 s. Where no engine has claimed it within `CLAIMED_WITHIN_S`, there is none.
KEPT_WITHIN_S = 4.0
CLAIMED_WITHIN_S = 2.0
FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class Opened:
    """What an opener says of a name.

    slug     the feed's name, one for all that means the same: parameters in order, defaults left out
    base     see `models.Demand`
    title    for pages
    public   anybody may read it
    """

    slug: str
    base: str
    title: str
    public: bool


class Opener(Protocol):
    """Knows the feeds behind one prefix."""

    def resolve(self, name: str, principal: Principal) -> Opened:
        """What that name means for somebody who may read it. Sync; may read the database.

        Raises BadInput naming a parameter (`params.customer`), and NotFound where there is no such query and
        where `principal` may not read it, alike.
        """


_openers: dict[str, Opener] = {}


def register_opener(prefix: str, opener: Opener) -> None:
    """Have `opener` asked about names that begin with this prefix and a colon."""
    _openers[prefix] = opener


def opener_of(name: str) -> Opener | None:
    """Who knows this name; None: it is no feed of that sort."""
    return _openers.get(name.partition(":")[0]) if ":" in name else None


def resolve(name: str, principal: Principal) -> Opened:
    """What the opener of this name says; see `Opener.resolve`. Sync.

    Raises NotFound without an opener, and HeadwaterError for what an opener fails with, which is logged.
    """
    opener = opener_of(name)
    if opener is None:
        raise NotFound("There is no feed of that name.", field="slug")
    try:
        return opener.resolve(name, principal)
    except (HeadwaterError, OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("opener_failed prefix=%s", name.partition(":")[0])
        raise HeadwaterError("Something went wrong here. It was logged; try again later.") from None


def name_with(name: str, parameters: Iterable[tuple[str, str]]) -> str:
    """The name with these parameters behind its own, for doors that take them in an address."""
    more = urlencode(list(parameters), quote_via=quote, safe="")
    if not more:
        return name
    head, mark, block = name.partition("#")
    return f"{head}{'&' if '?' in head else '?'}{more}{mark}{block}"


_Asked = tuple[str, Principal]
_Answer = tuple[Opened, Standing | None] | HeadwaterError


class Opening:
    """Opens feeds on one loop. Whatever is asked at the same time is one unit of work for all who ask."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = feeds
        self._answers = SharedReads(self._load_answers, batch_limit=500)
        self._wanted = SharedReads(self._load_wanted, batch_limit=500)
        self._standings = SharedReads(self._load_standings, batch_limit=500)
        self._idle_until = 0.0  # of the loop's clock: no engine was there a moment ago
        for reads in (self._answers, self._wanted, self._standings):
            feeds.closing.push_async_callback(reads.aclose)

    @classmethod
    def of(cls, feeds: Feeds) -> Opening:
        """The one of these feeds."""
        return feeds.part(cls)

    async def open(self, name: str, principal: Principal, *, exact: bool = False) -> FeedRef:
        """The feed of that name, which this principal may read, wanted from now on for `WANTED_S`.

        exact   take the one true name alone

        Returns once the feed has the present value, or after `KEPT_WITHIN_S` with what there is: engines may
        be away or slow. Raises BadInput (`channel` for a name that is not exact) and NotFound as openers do,
        and Unavailable.
        """
        answer = await self._answers.ask((name, principal))
        assert answer is not None
        if isinstance(answer, HeadwaterError):
            raise answer.with_traceback(None)
        opened, standing = answer
        if exact and opened.slug != name:
            raise BadInput(f"channel: the name of this feed is {opened.slug}", field="channel")
        now = timezone.now()
        if standing is None or not standing.tells(opened) or _lapses(standing.wanted_until, now):
            wanted = await self._wanted.ask(opened)
            if wanted is None:
                raise NotFound("There is no feed of that name.", field="slug")
            if isinstance(wanted, Unavailable):
                raise wanted.with_traceback(None)
            standing = wanted
        if not standing.kept(now):
            await self._wait(standing.feed.id)
        return standing.feed

    async def _wait(self, feed_id: int) -> None:
        """Return when the feed has the present value, is gone, or is not worth waiting for any longer."""
        loop = asyncio.get_running_loop()
        began, pause = loop.time(), FIRST_PAUSE_S
        while True:
            await asyncio.sleep(pause)
            standing, now = await self._standings.ask(feed_id), timezone.now()
            if standing is None or standing.kept(now):
                return
            claimed, waited = standing.claimed(now), loop.time() - began
            if not claimed and loop.time() < self._idle_until:
                return
            if waited > (KEPT_WITHIN_S if claimed else CLAIMED_WITHIN_S):
                logger.warning("demand_not_met claimed=%s", claimed)
                if not claimed:
                    self._idle_until = loop.time() + WANTED_AGAIN_S
                return
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _load_answers(self, asked: Sequence[_Asked]) -> dict[_Asked, _Answer]:
        return await self._feeds.database.read(_look_up, asked)

    async def _load_wanted(self, opened: Sequence[Opened]) -> dict[Opened, Standing | Unavailable]:
        now = timezone.now()
        until = now + timedelta(seconds=WANTED_S)
        standings = await self._feeds.database.write(want, opened, until, now)
        if not all(isinstance(each, Standing) and each.kept(now) for each in standings.values()):
            self._feeds.broker.signal(ENGINES, {"kind": WANTED_SIGNAL})
        return standings

    async def _load_standings(self, feed_ids: Sequence[int]) -> dict[int, Standing]:
        return await self._feeds.database.read(standings_of, feed_ids)


def _look_up(asked: Sequence[_Asked]) -> dict[_Asked, _Answer]:
    """What openers say, and the rows that there are. One query besides those of the openers."""
    resolved: dict[_Asked, Opened | HeadwaterError] = {}
    for name, principal in asked:
        try:
            resolved[name, principal] = resolve(name, principal)
        except HeadwaterError as error:
            resolved[name, principal] = error
    slugs = {opened.slug for opened in resolved.values() if isinstance(opened, Opened)}
    standings = standings_named(slugs)
    return {
        key: (opened, standings.get(opened.slug)) if isinstance(opened, Opened) else opened
        for key, opened in resolved.items()
    }


def _lapses(wanted_until: datetime, now: datetime) -> bool:
    """Whether it is time to want it again."""
    return wanted_until < now + timedelta(seconds=WANTED_S - WANTED_AGAIN_S)


async def keep_wanted(database: Database, watched: Callable[[], Mapping[int, str]]) -> None:
    """Want all that is watched here every `WANTED_AGAIN_S`, for ever.

    watched   the names of the feeds that are, by id; only those that have an opener cost anything
    """
    while True:
        await asyncio.sleep(WANTED_AGAIN_S)
        feed_ids = [feed_id for feed_id, slug in watched().items() if opener_of(slug) is not None]
        if not feed_ids:
            continue
        until = timezone.now() + timedelta(seconds=WANTED_S)
        try:
            await database.write(want_again, feed_ids, until)
        except Unavailable:
            logger.warning("demand_not_kept feeds=%d", len(feed_ids))
