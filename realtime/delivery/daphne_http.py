"""Daphne's HTTP requests as Headwater needs them: bodies refused before they are read whole, room for long
request lines, back-pressure for streams.
"""

from __future__ import annotations

import asyncio
from typing import Any

from daphne.http_protocol import HTTPFactory, WebRequest

from realtime.conf import conf
from realtime.errors import TooLarge

from .codes import error_body
from .daphne import Buffer

# Two hundred feeds with their positions fit into one request line.
HEADER_LIMIT_BYTES = 64 * 1024


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
