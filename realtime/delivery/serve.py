"""Daphne as a server of ours: what it is started with, work on its loop, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any
from weakref import WeakSet

import daphne.server  # noqa: F401 - installs Twisted's reactor on asyncio's loop, before it is imported
from daphne.endpoints import build_endpoint_description_strings
from twisted.internet import defer, reactor
from twisted.internet.error import CannotListenError

from realtime.conf import conf

from . import sse
from .centrifuge import streams
from .daphne import Socket, check_insides, socket_class
from .daphne_http import CLOSE_TIMEOUT_S, build_channel
from .drain import Drain
from .handle import Handle, Outbox
from .keeping import KeptServer, Line, Pulse

logger = logging.getLogger(__name__)

BACKLOG = 4096
# What a value of the largest size needs as a frame; smaller limits for clients' messages are the doors' own.
FRAME_LIMIT_BYTES = 1024 * 1024
# For the work, after the last connection's end.
STOP_TIMEOUT_S = 5.0


class HeadwaterServer(KeptServer):
    """Serves `application` on host and port until SIGTERM or SIGINT, then drains; a second one hurries it.

    listening   called with the real port once connections are taken
    work        entered on the server's loop at the start, left at the end, when the sockets are closed

    Raises UnknownInsides when a library is of an unknown release. After `run`: `failure` is why it could not
    listen or work, None if it ended in order.
    """

    def __init__(
        self,
        application: Any,
        *,
        host: str,
        port: int,
        listening: Callable[[int], None],
        work: Callable[[], AbstractAsyncContextManager[None]],
        access_log: bool = False,
    ) -> None:
        check_insides()
        endpoints = build_endpoint_description_strings(host=host, port=port)
        super().__init__(
            application,
            endpoints=[f"{endpoint}:backlog={BACKLOG}" for endpoint in endpoints],
            signal_handlers=False,
            action_logger=_log_action if access_log else None,
            websocket_timeout=-1,
            websocket_handshake_timeout=20,
            websocket_max_message_size=FRAME_LIMIT_BYTES,
            websocket_max_frame_size=FRAME_LIMIT_BYTES,
            server_name="headwater",
            ready_callable=self._ready,
        )
        self._say_listening = listening
        self._work = work
        self._ports: list[Any] = []
        self._channels: WeakSet[Any] = WeakSet()
        self._stopping = asyncio.Event()
        self._outbox = Outbox()
        self._worker: asyncio.Task[None] | None = None
        self.drain = Drain()
        self.failure: BaseException | None = None

    def listen_success(self, port: Any) -> None:
        self._ports.append(port)
        super().listen_success(port)

    def listen_error(self, failure: Any) -> None:
        self.failure = failure.value
        self.stop()

    def _ready(self) -> None:
        # Not before: until it runs, Daphne's loop is not the current one, and nothing would be called back.
        loop = asyncio.get_event_loop()
        self.pulse = Pulse(conf().ping_s, loop.time, loop.call_later)
        self.handshakes = Line(loop.time, loop.call_soon)
        # Refused messages get a close frame instead of a lost connection; slow readers get to read theirs.
        self.ws_factory.setProtocolOptions(failByDrop=False, closeHandshakeTimeout=CLOSE_TIMEOUT_S)
        self.ws_factory.protocol = socket_class(self.ws_factory)
        self.http_factory.buildProtocol = partial(build_channel, self.http_factory, self._channels)
        reactor.callWhenRunning(self._start)

    def _start(self) -> None:
        loop = asyncio.get_event_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._hear_signal)
        self._worker = loop.create_task(self._do_work())
        for port in self._ports:
            self._say_listening(port.getHost().port)

    def _hear_signal(self) -> None:
        if self.drain.begun:
            self.drain.hurry()
        else:
            self.stop()

    def stop(self) -> None:
        """End in order."""
        self.drain.begun = True
        super().stop()

    async def _do_work(self) -> None:
        try:
            async with self._work():
                await self._stopping.wait()
        except Exception as error:
            self.failure = error
            logger.exception("server_work_failed")
            if not self.drain.begun:
                self.stop()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if isinstance(protocol, Socket):
            protocol.handle = Handle(protocol, self._outbox)
            scope["extensions"] = {"headwater": protocol.handle}
        elif sse.is_stream(scope) or streams.is_stream(scope):
            if self.drain.begun:
                protocol.hang_up()
                return None
            scope["extensions"] = {"headwater": protocol.feel()}
        elif self.drain.begun:
            scope["extensions"] = {"headwater.draining": {}}
        return super().create_application(protocol, scope)

    def kill_all_applications(self) -> Any:
        """Called by Twisted before it ends; it waits for the result."""
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._end()))

    async def _end(self) -> None:
        await self.drain.run(self.connections, self._ports, self._channels)
        self._stopping.set()
        if self._worker is not None:
            await _end_within(STOP_TIMEOUT_S, {self._worker})

    def close(self) -> None:
        """After `run`: end what still sleeps on the loop, so that nothing is destroyed while it waits."""
        loop = asyncio.get_event_loop()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())


async def _end_within(timeout_s: float, tasks: set[Any]) -> None:
    late = (await asyncio.wait(tasks, timeout=timeout_s))[1] if tasks else set()
    for task in late:
        logger.error("server_task_did_not_end after_s=%s", timeout_s)
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=1)


def port_is_taken(failure: BaseException | None) -> bool:
    """Whether the server could not listen because of the address."""
    return isinstance(failure, CannotListenError)


def _log_action(protocol: str, action: str, details: dict[str, Any]) -> None:
    """One line per request or socket, without query strings: tokens travel there."""
    path = details["path"].partition("?")[0]
    logger.info(
        "access %s %s %s %s %s",
        details.get("client") or "-",
        details.get("method") or protocol,
        path,
        details.get("status") or action,
        f"{details['time_taken'] * 1000:.0f}ms" if "time_taken" in details else "-",
    )
