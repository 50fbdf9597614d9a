"""Daphne's protocols as Headwater needs them: the one place that knows their insides.

Only `serve` imports this, after it has installed Twisted's reactor. Added to Daphne: back-pressure (its
`send` never waits), bodies refused before they are read whole, close reasons, room for long request lines.
"""

from __future__ import annotations

import asyncio
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from realtime.conf import conf
from realtime.errors import TooLarge

from .codes import RESTART_CODE, error_body

# Two hundred feeds with their positions fit into one request line.
HEADER_LIMIT_BYTES = 64 * 1024


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
        elif message.get("type") == "websocket.send" and self.state != self.STATE_OPEN:
            raise ConnectionResetError("The client is gone.")  # what ASGI has a server raise
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


def build_channel(factory: HTTPFactory, address: Any) -> Any:
    """As Daphne's factory does, with our requests and room for long request lines."""
    protocol = HTTPFactory.buildProtocol(factory, address)
    protocol.requestFactory = Request
    channel = protocol._channel
    channel.MAX_LENGTH = channel.totalHeadersSize = HEADER_LIMIT_BYTES
    return protocol
