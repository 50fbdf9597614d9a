"""How many requests may be under way at once: in all, and to one host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Host:
    """The slots of one host, and how many hold or want one."""

    __slots__ = ("slots", "users")

    def __init__(self, slots: int) -> None:
        self.slots = asyncio.Semaphore(slots)
        self.users = 0


class Slots:
    """Bounds for one loop, first come first served. Who waits for a slow host takes nothing from others."""

    def __init__(self, total: int, per_host: int) -> None:
        self._total = asyncio.Semaphore(total)
        self._per_host = per_host
        self._hosts: dict[str, _Host] = {}

    @asynccontextmanager
    async def hold(self, host: str, *, within_s: float) -> AsyncIterator[None]:
        """Hold a slot of the host and one of all. Raises TimeoutError when they are not free `within_s`."""
        own = self._hosts.get(host)
        if own is None:
            own = self._hosts[host] = _Host(self._per_host)
        own.users += 1
        try:
            async with asyncio.timeout(within_s):
                await own.slots.acquire()
                try:
                    await self._total.acquire()
                except BaseException:
                    own.slots.release()
                    raise
            try:
                yield
            finally:
                self._total.release()
                own.slots.release()
        finally:
            own.users -= 1
            if not own.users:
                del self._hosts[host]
