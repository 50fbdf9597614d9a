"""The engine: everything that fills feeds and keeps them in order, on whichever loop it is started.

It refuses to know who watches. As many engines as wanted may run on one database; each lives under a name of
its own, by which it claims sources and gives signs of life.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from django.utils import timezone

from realtime.conf import conf
from realtime.errors import Unavailable
from realtime.feeds.retention import keep_trimmed
from realtime.feeds.runtime import Feeds
from realtime.feeds.supervision import Supervisor
from realtime.queries.claims import release
from realtime.queries.evaluator import Evaluator
from realtime.sources.fetch import Fetcher
from realtime.sources.freshness import keep_states
from realtime.sources.guard import AllowedNetworks
from realtime.sources.models import EngineSeen
from realtime.sources.poller import Poller

logger = logging.getLogger(__name__)

SIGN_OF_LIFE_EVERY_S = 5.0
# Longer than any doubt whether an engine is only slow; until then its row shows when it was last alive.
FORGOTTEN_AFTER_S = 3600.0


class Engine:
    """Polling, live queries, states, trimming and a sign of life, supervised from `start` to `aclose`.

    Uses the given feeds and leaves them open. `async with Engine(feeds):` starts and closes it.
    """

    def __init__(self, feeds: Feeds, *, name: str | None = None) -> None:
        self.name = name or engine_name()
        self._feeds = feeds
        self._supervisor = Supervisor()
        self._fetcher = Fetcher(
            AllowedNetworks.parse(conf().allowed_networks), limit_bytes=conf().fetch_limit_bytes
        )
        self._poller = Poller(feeds, self._fetcher, name=self.name)
        self._evaluator = Evaluator(feeds, name=self.name)

    async def start(self) -> None:
        """Start polling. Raises nothing when the database is away: the engine waits for it."""
        self._supervisor.spawn("sign of life", self._live)
        self._supervisor.spawn("poller", self._poller.run)
        self._supervisor.spawn("live queries", self._evaluator.run)
        self._supervisor.spawn("states", lambda: keep_states(self._feeds))
        self._supervisor.spawn("trimming", lambda: keep_trimmed(self._feeds.database))
        logger.info("engine_started name=%s", self.name)

    def poke(self) -> None:
        """Look at the schedule now: this process has just changed it."""
        self._poller.poke()

    async def aclose(self) -> None:
        """End the polls under way, give their claims back, and take the name off the list of engines."""
        await self._supervisor.aclose()
        await self._evaluator.aclose()
        await self._fetcher.aclose()
        try:
            await self._feeds.database.write(_forget, self.name)
        except Unavailable:
            logger.warning("engine_not_signed_off name=%s", self.name)
        logger.info("engine_stopped name=%s", self.name)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _live(self) -> None:
        started = timezone.now()
        while True:
            try:
                await self._feeds.database.write(_sign, self.name, started, timezone.now())
                await self._feeds.database.write(_bury)
            except Unavailable:
                logger.warning("sign_of_life_not_saved name=%s", self.name)
            await asyncio.sleep(SIGN_OF_LIFE_EVERY_S)


# The names that this process has given.
_ours: set[str] = set()


def engine_name() -> str:
    """A name that no other engine has, of at most 64 characters: host, process, and chance for the rest."""
    name = f"{_host()}:{os.getpid()}:{secrets.token_hex(3)}"
    _ours.add(name)
    return name


def _host() -> str:
    return socket.gethostname()[:40]


def _is_dead(name: str) -> bool:
    """Whether it was an engine of this host, and its process is there no more."""
    host, _, process = name.rpartition(":")[0].rpartition(":")
    if host != _host() or not process.isdecimal() or name in _ours:
        return False
    if int(process) == os.getpid():  # it was one before this, as in a container that was started again
        return True
    try:
        os.kill(int(process), 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False


def _bury() -> None:
    """Let go of the queries that engines of this host held when they were killed: sooner than claims end.

    Containers that share a host's name but not its processes may take each other for dead. Then two engines
    evaluate what one of them held until that one looks again, and no more than that.
    """
    for name in EngineSeen.objects.values_list("name", flat=True):
        if _is_dead(name):
            release(name)
            _forget(name)
            logger.warning("engine_died name=%s", name)


def _sign(name: str, started: datetime, now: datetime) -> None:
    EngineSeen.objects.update_or_create(
        name=name, defaults={"seen_at": now}, create_defaults={"started_at": started, "seen_at": now}
    )
    EngineSeen.objects.filter(seen_at__lt=now - timedelta(seconds=FORGOTTEN_AFTER_S)).delete()


def _forget(name: str) -> None:
    EngineSeen.objects.filter(name=name).delete()
