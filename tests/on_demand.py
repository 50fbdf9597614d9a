"""Live queries for tests of the doors: an opener that knows three, and what fills them as an engine does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, quote

from django.contrib.auth.models import User
from django.utils import timezone

from realtime.errors import BadInput, NotFound
from realtime.feeds.access import Principal
from realtime.feeds.demand import ENGINES, WANTED_SIGNAL, Opened
from realtime.feeds.models import Demand, Feed
from realtime.feeds.runtime import Feeds
from realtime.feeds.store import Health, Write

GROUP = "sales"
LOOK_EVERY_S = 0.1


class Shop:
    """`query:open` for everybody, `query:sales` for the group of that name, `query:mine` of each user's own.

    All take `customer`, a number, and `page`, 1 by default. Tokens with the scope read or manage read all.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, Principal]] = []

    def resolve(self, name: str, principal: Principal) -> Opened:
        self.asked.append((name, principal))
        head, _, block = name.partition("#")
        what, _, text = head.removeprefix("query:").partition("?")
        values = dict(parse_qsl(text))
        if what == "broken":
            raise RuntimeError("a secret of the server")
        if what not in ("open", "sales", "mine") or not self._may(what, values, principal):
            raise NotFound("There is no feed of that name.", field="slug")
        if not values.get("customer", "").isdecimal():
            raise BadInput("params.customer: give a number.", field="params.customer")
        if values.get("page") == "1":
            del values["page"]
        said = "&".join(f"{key}={quote(value, safe='')}" for key, value in sorted(values.items()))
        base = f"query:{what}?{said}"
        slug = f"{base}#{block}" if block else base
        return Opened(slug, base, f"Orders: {what}", what == "open")

    @staticmethod
    def _may(what: str, values: dict[str, str], principal: Principal) -> bool:
        if principal.kind == "token":
            return principal.may_read(public=False)
        if what == "open":
            return True
        user = User.objects.filter(pk=principal.id).first() if principal.kind == "user" else None
        if user is None:
            return False
        if what == "mine":
            return values.setdefault("user", str(user.pk)) == str(user.pk)
        return user.groups.filter(name=GROUP).exists()


class Filler:
    """Fills what is wanted as an engine does, in this process."""

    def __init__(self, feeds: Feeds, value_of: Callable[[str], Any]) -> None:
        self._feeds = feeds
        self._value_of = value_of
        self._wanted = asyncio.Event()
        self.filled: list[str] = []

    async def run(self) -> None:
        """For ever; supervised by the feeds."""
        self._feeds.broker.hear(WANTED_SIGNAL, lambda _: self._wanted.set())
        await self._feeds.broker.join_group(ENGINES)
        while True:
            with contextlib.suppress(TimeoutError):  # a signal may be lost
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wanted.wait()
            self._wanted.clear()
            for feed_id, slug in await self._feeds.database.write(self._claim):
                await self._fill(feed_id, slug)

    async def _fill(self, feed_id: int, slug: str) -> None:
        """Publish a value, and then say that it is the present one: whoever asked for it goes on at once."""
        await publish(self._feeds, feed_id, self._value_of(slug))
        self.filled.append(slug)
        await self._feeds.database.write(lambda: Demand.objects.filter(pk=feed_id).update(kept=True))

    @staticmethod
    def _claim() -> list[tuple[int, str]]:
        now = timezone.now()
        rows = Demand.objects.filter(wanted_until__gt=now).exclude(claimed_until__gt=now)
        found = list(rows.values_list("pk", "feed__slug"))
        claimed_until = now + timedelta(seconds=60)
        rows.update(engine="shop", claimed_until=claimed_until, kept=False)
        return found


def fill(feeds: Feeds, value_of: Callable[[str], Any] = lambda slug: slug) -> Filler:
    """Have what is wanted filled from now on, by default with its own name."""
    filler = Filler(feeds, value_of)
    feeds.supervisor.spawn("filler", filler.run)
    return filler


async def publish(feeds: Feeds, feed_id: int, value: Any) -> None:
    """A change of such a feed."""
    await feeds.store.publish(feed_id, value)


async def fail(feeds: Feeds, feed_id: int, why: str) -> None:
    """Say that its evaluation fails."""
    await feeds.store.write(Write(feed_id, health=Health("failing", None, None, why)))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when this is so."""
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - a row tells nobody
            await asyncio.sleep(0.01)


async def row_of(feeds: Feeds, slug: str) -> Demand:
    """The demand's row, with its feed."""
    return await feeds.database.read(lambda: Demand.objects.select_related("feed").get(feed__slug=slug))


async def feed_of(feeds: Feeds, slug: str) -> Feed | None:
    """The feed's row, if there is one."""
    return await feeds.database.read(lambda: Feed.objects.filter(slug=slug).first())
