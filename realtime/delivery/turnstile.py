"""So many at once and no more; the others wait in the order in which they came, and not for ever."""

from __future__ import annotations

import asyncio

from realtime.errors import Unavailable


class Turnstile:
    """`async with turnstile:` runs for at most `limit` tasks of one loop at a time, first come, first served.

    patience_s  after waiting for so long one is refused with Unavailable

    A task that is cancelled while it waits takes nobody's place.
    """

    def __init__(self, limit: int, *, patience_s: float) -> None:
        self._places = asyncio.Semaphore(limit)
        self._patience_s = patience_s

    async def __aenter__(self) -> None:
        if self._places.locked():
            await self._wait()
        else:
            await self._places.acquire()  # at once, and without a timer

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._places.acquire()
        except TimeoutError:
            raise Unavailable("Too many come in at the same time. Try again in a moment.") from None

    async def __aexit__(self, *_: object) -> None:
        self._places.release()
