"""Reads asked for at the same time become one: a thousand joining clients cost a handful of queries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedReads(Generic[K, V]):
    """`await read(key)` through a loader of many keys, with one load under way at a time.

    A load answers only those who asked before it began, so an answer is never older than the question.
    Errors of the loader reach everyone whom that load would have answered.
    """

    def __init__(self, load: Callable[[Sequence[K]], Awaitable[dict[K, V]]], *, batch_limit: int) -> None:
        self._load = load
        self._batch_limit = batch_limit
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._loader: asyncio.Task[None] | None = None

    async def read(self, key: K) -> V | None:
        """What the loader has for the key; None when it has nothing."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
            if self._loader is None or self._loader.done():
                self._loader = asyncio.create_task(self._load_all(), name="headwater shared reads")
        # Shielded: one caller that gives up must not take the answer away from the others.
        return await asyncio.shield(future)

    async def _load_all(self) -> None:
        while self._waiting:
            keys = list(self._waiting)[: self._batch_limit]
            batch = {key: self._waiting.pop(key) for key in keys}
            try:
                values = await self._load(keys)
            except Exception as error:
                for future in batch.values():
                    future.set_exception(error)
                    future.exception()  # seen, even if everybody who asked has gone
                continue
            except BaseException:
                for future in batch.values():
                    future.cancel()
                raise
            for key, future in batch.items():
                future.set_result(values.get(key))

    async def aclose(self) -> None:
        """Cancel the load under way and whoever waits for one."""
        if self._loader is not None:
            self._loader.cancel()
            await asyncio.gather(self._loader, return_exceptions=True)
        for future in self._waiting.values():
            future.cancel()
        self._waiting.clear()
