"""Daphne's HTTP requests as Headwater needs them: bodies refused before they are read whole, room for long
request lines, back-pressure for streams, and an orderly end while the server drains.
"""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakSet

from daphne.http_protocol import HTTPFactory, WebRequest

from realtime.conf import conf
from realtime.errors import TooLarge, Unavailable

from .codes import error_body
from .handle import Buffer, unsent

# Two hundred feeds with their positions fit into one request line.
HEADER_LIMIT_BYTES = 64 * 1024
# For a client's answer to a close frame; when the server goes, for reading on at a stream's end as well.
CLOSE_TIMEOUT_S = 5


class StreamBuffer(Buffer):
    """A stream's buffer: whoever takes nothing out of it for too long is cut off, also after the end."""

    def __init__(self, transport: Any) -> None:
        super().__init__()
        self._transport = transport

    @property
    def waiting(self) -> int:
        """Bytes that the client has not taken yet, as far as this process holds them."""
        return unsent(self._transport)

    async def drain(self) -> None:
        """As `Buffer.drain`. Ends the connection when the client takes nothing for the stall limit."""
        while not self._room.is_set():
            unread = self.waiting
            try:
                async with asyncio.timeout(conf().stall_limit_s):
                    await self._room.wait()
            except TimeoutError:
                if self.waiting >= unread:
                    # Not told why: that would wait behind what is not read.
                    self._transport.abortConnection()
                    raise ConnectionAbortedError("The client reads nothing.") from None
        await super().drain()

    def expect_reading(self, patience_s: float) -> None:
        """The stream has ended: cut the client off when it takes nothing of the rest for so long.

        The end itself waits behind what is not read; Twisted would wait for more than a minute.
        """
        if self.waiting:
            asyncio.get_event_loop().call_later(patience_s, self._look_for_progress, self.waiting, patience_s)

    def _look_for_progress(self, unread: int, patience_s: float) -> None:
        if self.waiting < unread:
            self.expect_reading(patience_s)
        else:
            self._transport.abortConnection()


class Request(WebRequest):  # type: ignore[misc]
    """An HTTP request whose body is refused while it comes, and whose stream feels the buffer."""

    refused = False
    taken = 0
    buffer: StreamBuffer | None = None

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
            self.hang_up()
            return None
        if self._upgrades():
            self.server.handshakes.add(self._shake_hands)
            return None
        if self.server.drain.begun:
            self.close_after_answer()
        return super().process()

    def _upgrades(self) -> bool:
        """Whether Daphne will make a WebSocket of it."""
        upgrade = self.requestHeaders.getRawHeaders(b"upgrade", [b""])
        return bool(upgrade[0].lower() == b"websocket")

    def _shake_hands(self) -> None:
        if self.channel is None:
            return  # the client has gone before its turn came
        if self.server.drain.begun:
            self.close_after_answer()
            self._refuse_to_upgrade()
        else:
            super().process()

    def _refuse_to_upgrade(self) -> None:
        """Before the handshake, so that a proxy may ask another process instead."""
        body = error_body(Unavailable("This process is going down. Try again at once."))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"retry-after", b"1"),
        ]
        self.handle_reply({"type": "http.response.start", "status": 503, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": body})

    def close_after_answer(self) -> None:
        """Have no further request on this connection."""
        if not self.finished and self.channel is not None:
            self.responseHeaders.setRawHeaders(b"connection", [b"close"])
            self.channel.persistent = False

    def hang_up(self) -> None:
        """Close the connection without an answer."""
        self.channel.loseConnection()

    def feel(self) -> StreamBuffer:
        """The buffer that this stream fills."""
        self.buffer = StreamBuffer(self.channel.transport)
        self.registerProducer(self.buffer, True)
        return self.buffer

    def finish(self) -> None:
        if self.producer:
            self.unregisterProducer()
        super().finish()
        if self.buffer is not None:
            limit_s = conf().stall_limit_s
            self.buffer.expect_reading(min(limit_s, CLOSE_TIMEOUT_S) if self.server.drain.begun else limit_s)

    def go_away(self) -> None:
        """Tell a stream's application that its time is over."""
        if self.buffer is not None and self.application_queue is not None:
            self.application_queue.put_nowait({"type": "http.disconnect"})


def build_channel(factory: HTTPFactory, channels: WeakSet[Any], address: Any) -> Any:
    """As Daphne's factory does, with our requests and room for long request lines. Kept in `channels`."""
    protocol = HTTPFactory.buildProtocol(factory, address)
    protocol.requestFactory = Request
    channel = protocol._channel
    channel.MAX_LENGTH = channel.totalHeadersSize = HEADER_LIMIT_BYTES
    channels.add(channel)
    return protocol
