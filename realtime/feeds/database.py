"""Database work off the loop: one sync function per unit of work, on bounded pools of our own.

Never asgiref's shared thread, on which one slow query would delay every socket of the process. SQLite gets
a single writer thread, so that its writers queue here instead of failing on the file's lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, InterfaceError, OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from realtime.errors import Unavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")
WAITING_LIMIT = 5_000
FINISH_S = 2.0


class Database:
    """Runs units of work for one loop. Threads get values and return values; rows never cross.

    A unit that cannot reach the database raises Unavailable. At most `WAITING_LIMIT` units wait; one more is
    refused with Unavailable instead of growing the queue. Cancelling the caller does not stop a unit that
    has begun: it runs to its commit or rollback.
    """

    def __init__(self, *, threads: int) -> None:
        self._connections: list[BaseDatabaseWrapper] = []
        self._is_sqlite = connection.vendor == "sqlite"
        self._readers = self._pool(threads, "read")
        self._writers = self._pool(1, "write") if self._is_sqlite else self._readers
        self._waiting = 0

    def _pool(self, threads: int, name: str) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(threads, f"headwater-{name}", initializer=self._register_connection)

    def _register_connection(self) -> None:
        # Shared so that `aclose` may close it from another thread, after this one has ended.
        own = connections[DEFAULT_DB_ALIAS]
        own.inc_thread_sharing()
        self._connections.append(own)

    async def read(self, unit: Callable[..., T], *args: Any) -> T:
        """The result of `unit(*args)`, which only reads."""
        return await self._run(self._readers, unit, args)

    async def write(self, unit: Callable[..., T], *args: Any) -> T:
        """The result of `unit(*args)`, which may write; its transaction has ended when this returns."""
        return await self._run(self._writers, unit, args)

    async def finish(
        self, unit: Callable[..., T], *args: Any, late: Callable[[T], object] = lambda _: None
    ) -> T:
        """As `write`, but the caller's cancellation waits for the unit to end, at most `FINISH_S`.

        late   gets the result then, since the caller does not
        """
        writing = asyncio.ensure_future(self.write(unit, *args))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            try:
                async with asyncio.timeout(FINISH_S):
                    late(await writing)
            except (Unavailable, TimeoutError):
                pass
            except Exception:
                logger.exception("unit_failed")  # nobody else hears of it
            raise

    async def _run(self, pool: ThreadPoolExecutor, unit: Callable[..., T], args: tuple[Any, ...]) -> T:
        if self._waiting >= WAITING_LIMIT:
            raise Unavailable("The database has too much waiting for it. Try again in a moment.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, partial(self._unit, unit, args))
        finally:
            self._waiting -= 1

    def _unit(self, unit: Callable[..., T], args: tuple[Any, ...]) -> T:
        try:
            return unit(*args)
        except (OperationalError, InterfaceError) as error:
            logger.warning("database_unavailable %s", error)
            self._hang_up()
            pool = getattr(connection, "pool", None)
            if pool is not None:
                pool.check()  # after a restart all idle connections are dead: the first failure finds them
            raise Unavailable("The database does not answer. Try again in a moment.") from error
        finally:
            if not self._is_sqlite:
                self._hang_up()  # gives it back to psycopg's pool, which drops it if it is broken

    @staticmethod
    def _hang_up() -> None:
        if not connection.in_atomic_block:
            connection.close()

    async def aclose(self) -> None:
        """Wait for the units under way, end the threads and close their connections."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writers.shutdown(wait=True, cancel_futures=True)
        self._readers.shutdown(wait=True, cancel_futures=True)
        for each in self._connections:
            each.close()
        self._connections.clear()
