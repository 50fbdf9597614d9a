"""Reads asked for at the same time become one: a thousand joining clients cost a handful of queries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedReads(Generic[K, V]):
    """`await ask(key)` through a loader of many keys, with one load under way at a time.

    A load answers only those who asked before it began, so an answer is never older than the question.
    Errors of the loader reach everyone whom that load would have answered.
    """

    def __init__(self, load: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], *, batch_limit: int) -> None:
        self._load = load
        self._batch_limit = batch_limit
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._loader: asyncio.Task[None] | None = None

    def is_asked(self, key: K) -> bool:
        """Whether a load that has yet to begin will answer this: to ask as well costs no read."""
        return key in self._waiting

    def ask(self, key: K) -> asyncio.Future[V | None]:
        """What the loader has for the key; None when it has nothing. Each who asks may give up alone."""
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        if self._loader is None or self._loader.done():
            self._loader = asyncio.create_task(self._load_all(), name="headwater shared reads")
        return future

    async def _load_all(self) -> None:
        while self._waiting:
            keys = list(self._waiting)[: self._batch_limit]
            batch = [(key, future) for key in keys for future in self._waiting.pop(key)]
            try:
                values = await self._load(keys)
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                        future.exception()  # seen, even if everybody who asked has gone
                continue
            except BaseException:
                for _, future in batch:
                    future.cancel()
                raise
            for key, future in batch:
                if not future.done():
                    future.set_result(values.get(key))

    async def aclose(self) -> None:
        """Cancel the load under way and whoever waits for one."""
        if self._loader is not None:
            self._loader.cancel()
            await asyncio.gather(self._loader, return_exceptions=True)
        for futures in self._waiting.values():
            for future in futures:
                future.cancel()
        self._waiting.clear()
