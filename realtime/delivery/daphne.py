"""Daphne, started and stopped as Headwater needs it: the one place that knows the server's insides.

Importing this installs Twisted's reactor: only `manage.py serve` does. Added to Daphne: back-pressure (its
`send` never waits), bodies refused before they are read whole, room for long request lines, an orderly end
with close code 1012, and work of ours on the server's own loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from daphne.endpoints import build_endpoint_description_strings
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import defer, reactor
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from realtime.conf import conf
from realtime.errors import TooLarge

from .codes import RESTART_CODE, error_body
from .sse import is_stream

logger = logging.getLogger(__name__)

BACKLOG = 4096
# Two hundred feeds with their positions fit into one request line.
HEADER_LIMIT_BYTES = 64 * 1024
# What a value of the largest size needs as a frame; smaller limits for clients' messages are the doors' own.
FRAME_LIMIT_BYTES = 1024 * 1024
CLOSE_TIMEOUT_S = 5
STOP_TIMEOUT_S = 10.0
SPREAD_S = 2.0


@implementer(IPushProducer)
class Buffer:
    """Twisted's write buffer of one client: above 64 KiB waiting it says pause, when drained resume."""

    def __init__(self) -> None:
        self._room = asyncio.Event()
        self._room.set()
        self._gone = False

    async def drain(self) -> None:
        """Return when there is room; raise ConnectionResetError when the client is gone."""
        await self._room.wait()
        if self._gone:
            raise ConnectionResetError("The client is gone.")

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's names
        self._room.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self._room.set()

    def stopProducing(self) -> None:  # noqa: N802
        self._gone = True
        self._room.set()


class Socket(WebSocketProtocol):  # type: ignore[misc]
    """A WebSocket with a buffer that is felt, and close codes with their reason."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = Buffer()

    def onOpen(self) -> None:  # noqa: N802
        self.transport.unregisterProducer()
        self.transport.registerProducer(self.buffer, True)
        super().onOpen()

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message.get("type") == "websocket.close" and self.state == self.STATE_OPEN:
            self.sendCloseFrame(message.get("code", 1000), message.get("reason", "").encode()[:123])
        else:
            super().handle_reply(message)

    def go_away(self) -> None:
        """Tell the client to come back: the server restarts."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(RESTART_CODE, b"restart")

    def _closeConnection(self, abort: bool = False) -> None:  # noqa: N802
        # With a producer that is paused, Twisted would never close the connection.
        self.buffer.stopProducing()
        self.transport.unregisterProducer()
        super()._closeConnection(abort)


class Request(WebRequest):  # type: ignore[misc]
    """An HTTP request whose body is refused while it comes, and whose stream feels the buffer."""

    refused = False
    taken = 0
    buffer: Buffer | None = None

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        super().gotLength(length if length is None or length <= conf().body_limit_bytes else 0)
        if length is not None and length > conf().body_limit_bytes:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        self.taken += len(data)
        if self.taken > conf().body_limit_bytes:
            self._refuse()
        if not self.refused:
            super().handleContentChunk(data)

    def _refuse(self) -> None:
        if self.refused:
            return
        self.refused = True
        limit = conf().body_limit_bytes
        body = error_body(TooLarge(f"A request body may have {limit:,} bytes.", field="body"))
        transport = self.channel.transport
        transport.write(
            b"HTTP/1.1 413 Content Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (len(body), body)
        )
        # Closing with unread data would reset the connection before the client has read the answer.
        asyncio.get_event_loop().call_later(2, transport.abortConnection)

    def process(self) -> Any:
        if self.refused:
            self.channel.loseConnection()
            return None
        return super().process()

    def feel(self, buffer: Buffer) -> None:
        """Tell the buffer from now on when to pause."""
        self.buffer = buffer
        self.registerProducer(buffer, True)

    def finish(self) -> None:
        if self.producer:
            self.unregisterProducer()
        super().finish()

    def end_stream(self) -> None:
        """Tell a stream's application that its time is over."""
        if self.buffer is not None and self.application_queue is not None:
            self.application_queue.put_nowait({"type": "http.disconnect"})


class HeadwaterServer(Server):  # type: ignore[misc]
    """Serves `application` on host and port until SIGTERM or SIGINT.

    listening   called with the real port once connections are taken
    work        entered on the server's loop at the start, left at the end, when the sockets are closed

    After `run`: `failure` is why it could not listen or work, None if it ended in order.
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
        endpoints = build_endpoint_description_strings(host=host, port=port)
        super().__init__(
            application,
            endpoints=[f"{endpoint}:backlog={BACKLOG}" for endpoint in endpoints],
            action_logger=_log_action if access_log else None,
            websocket_timeout=-1,
            websocket_handshake_timeout=20,
            # A time-out above the interval would drop live clients: the next ping overwrites its timer.
            ping_interval=20,
            ping_timeout=15,
            websocket_max_message_size=FRAME_LIMIT_BYTES,
            websocket_max_frame_size=FRAME_LIMIT_BYTES,
            server_name="headwater",
            ready_callable=self._ready,
        )
        self._say_listening = listening
        self._work = work
        self._ports: list[Any] = []
        self._stopping = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None

    def listen_success(self, port: Any) -> None:
        self._ports.append(port)
        super().listen_success(port)

    def listen_error(self, failure: Any) -> None:
        self.failure = failure.value
        self.stop()

    def _ready(self) -> None:
        self.ws_factory.protocol = Socket
        # Refused messages get a close frame instead of a lost connection; slow readers get to read theirs.
        self.ws_factory.setProtocolOptions(failByDrop=False, closeHandshakeTimeout=CLOSE_TIMEOUT_S)
        self.http_factory.buildProtocol = partial(_build_channel, self.http_factory)
        reactor.callWhenRunning(self._start)

    def _start(self) -> None:
        self._worker = asyncio.get_event_loop().create_task(self._do_work())
        for port in self._ports:
            self._say_listening(port.getHost().port)

    async def _do_work(self) -> None:
        try:
            async with self._work():
                await self._stopping.wait()
        except Exception as error:
            self.failure = error
            logger.exception("server_work_failed")
            if not self._stopping.is_set():
                self.stop()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        if isinstance(protocol, Socket):
            scope["extensions"] = {"headwater": protocol.buffer}
        elif is_stream(scope):
            buffer = Buffer()
            protocol.feel(buffer)
            scope["extensions"] = {"headwater": buffer}
        return super().create_application(protocol, scope)

    def kill_all_applications(self) -> Any:
        """Called by Twisted before it ends; it waits for the result."""
        return defer.Deferred.fromFuture(asyncio.ensure_future(self._end()))

    async def _end(self) -> None:
        for port in self._ports:
            port.stopListening()
        await self._close_streams()
        self._stopping.set()
        if self._worker is not None:
            done, _ = await asyncio.wait({self._worker}, timeout=STOP_TIMEOUT_S)
            if not done:
                logger.error("server_work_did_not_end after_s=%s", STOP_TIMEOUT_S)
                self._worker.cancel()
                await asyncio.wait({self._worker}, timeout=1)

    async def _close_streams(self) -> None:
        """Ask every client to come back, spread a little, and give applications time to end by themselves."""
        protocols = list(self.connections)
        for number, protocol in enumerate(protocols):
            if isinstance(protocol, Socket):
                protocol.go_away()
            elif isinstance(protocol, Request):
                protocol.end_stream()
            if number % 100 == 99:
                await asyncio.sleep(SPREAD_S * 100 / len(protocols))
        running = {
            details["application_instance"]
            for details in self.connections.values()
            if details.get("application_instance") is not None
        }
        if running:
            _, late = await asyncio.wait(running, timeout=CLOSE_TIMEOUT_S + 1)
            for application in late:
                application.cancel()
            if late:
                await asyncio.wait(late, timeout=1)

    def close(self) -> None:
        """After `run`: end what still sleeps on the loop, so that nothing is destroyed while it waits."""
        loop = asyncio.get_event_loop()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())


def port_is_taken(failure: BaseException | None) -> bool:
    """Whether the server could not listen because of the address."""
    return isinstance(failure, CannotListenError)


def _build_channel(factory: HTTPFactory, address: Any) -> Any:
    protocol = HTTPFactory.buildProtocol(factory, address)
    protocol.requestFactory = Request
    channel = protocol._channel
    channel.MAX_LENGTH = channel.totalHeadersSize = HEADER_LIMIT_BYTES
    return protocol


def _log_action(protocol: str, action: str, details: dict[str, Any]) -> None:
    """One line per request or socket, without query strings: tokens travel there."""
    path = details["path"].partition("?")[0]
    logger.warning(
        "access %s %s %s %s %s",
        details.get("client") or "-",
        details.get("method") or protocol,
        path,
        details.get("status") or action,
        f"{details['time_taken'] * 1000:.0f}ms" if "time_taken" in details else "-",
    )
