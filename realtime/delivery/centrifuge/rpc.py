"""Calls of registered methods: bounded in time and number, and off the loop where a method is sync.

A call is answered when it is done: what the client sends meanwhile does not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Mapping
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from realtime import rpc
from realtime.conf import conf
from realtime.errors import BadInput, HeadwaterError
from realtime.feeds.database import Database
from realtime.feeds.publication import decode_data, encode_data
from realtime.feeds.runtime import Feeds

from .codec import Raw
from .protocol import Disconnect, DisconnectCode, ErrorCode, ProtocolError, error_of

if TYPE_CHECKING:
    from .session import Session

logger = logging.getLogger(__name__)

LIMIT_S = 10.0
CALLS_PER_SESSION = 16


class Calls:
    """Of one loop. Sync methods have threads of their own: a slow one keeps no reader of feeds waiting."""

    def __init__(self, feeds: Feeds) -> None:
        self._threads = Database(threads=conf().database_threads)
        self._running: dict[Session, set[asyncio.Task[None]]] = {}
        feeds.closing.push_async_callback(self.aclose)

    async def call(self, name: str, caller: rpc.Caller, data: str) -> Raw:
        """What the method returns for this JSON text, as JSON text.

        Raises ProtocolError (108: no such method; 100: it failed, or took longer than `LIMIT_S`).
        A sync method that takes too long goes on by itself: threads cannot be stopped.
        """
        function = rpc.method(name)
        if function is None:
            raise ProtocolError(ErrorCode.NOT_AVAILABLE, "there is no such method")
        value = decode_data(data or "null")
        try:
            async with asyncio.timeout(LIMIT_S):
                if iscoroutinefunction(function):
                    result = await function(caller, value)
                else:
                    result = await self._threads.read(function, caller, value)
        except rpc.RpcError as error:
            raise ProtocolError(error.number, error.message) from error
        except (ProtocolError, HeadwaterError) as error:
            raise error_of(error) from error
        except TimeoutError:
            logger.warning("rpc_late method=%s", name)
            raise ProtocolError(ErrorCode.INTERNAL, "the method took too long") from None
        except Exception as error:
            # Without what it says, which may be what a client sent.
            frames = "".join(traceback.format_tb(error.__traceback__))
            logger.error("rpc_failed method=%s %s\n%s", name, type(error).__name__, frames)
            raise ProtocolError(ErrorCode.INTERNAL) from None
        try:
            return Raw(encode_data(result, limit_bytes=conf().value_limit_bytes, field="result"))
        except BadInput as error:
            logger.error("rpc_failed method=%s %s", name, error.message)
            raise ProtocolError(ErrorCode.INTERNAL) from error

    def start(self, session: Session, number: int, params: Mapping[str, Any]) -> None:
        """Answer this command of a client when its call is done."""
        running = self._running.setdefault(session, set())
        if len(running) >= CALLS_PER_SESSION:
            too_many = f"at most {CALLS_PER_SESSION} calls at a time"
            session.refuse(number, ProtocolError(ErrorCode.TOO_MANY_REQUESTS, too_many))
            return
        task = asyncio.create_task(self._answer(session, number, params), name="headwater rpc")
        running.add(task)
        task.add_done_callback(partial(self._done, session))

    def end(self, session: Session) -> None:
        """The client has gone: nothing of it runs on."""
        for task in self._running.get(session, ()):
            task.cancel()

    async def aclose(self) -> None:
        """Cancel what runs, and end the threads."""
        tasks = [task for running in self._running.values() for task in running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._threads.aclose()

    def _done(self, session: Session, task: asyncio.Task[None]) -> None:
        running = self._running[session]
        running.discard(task)
        if not running:
            del self._running[session]

    async def _answer(self, session: Session, number: int, params: Mapping[str, Any]) -> None:
        caller = rpc.Caller(session.user, session.id, session.known.principal)
        try:
            data = await self.call(params.get("method", ""), caller, params.get("data", ""))
        except (ProtocolError, HeadwaterError) as error:
            session.refuse(number, error_of(error))
        else:
            session.reply(number, "rpc", {"data": data})


def take_message(session: Session, params: Mapping[str, Any]) -> None:
    """A client's `send`, which nobody here takes."""
    raise Disconnect(DisconnectCode.NOT_AVAILABLE, "nobody takes messages here")
