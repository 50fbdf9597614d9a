"""Daphne's WebSockets as Headwater needs them; with `daphne_http`, the one place that knows its insides.

Only `serve` imports this, after it has installed Twisted's reactor. Added to Daphne: a `handle` for finished
frames, pings that any message answers, close reasons. `check_insides` stops the start when a release lacks
what is relied on.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from daphne.http_protocol import WebRequest
from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet.abstract import FileDescriptor
from twisted.internet.tcp import Port
from twisted.internet.tcp import Server as TcpConnection
from twisted.web.http import HTTPChannel

from realtime.errors import UnknownInsides

from .codes import RESTART_CODE
from .handle import Handle

# A client's messages that may wait for the application; with more, no more is read from it.
INBOUND_LIMIT = 64
PING_FRAME = b"\x89\x00"
# How a client's pong begins that repeats nothing; its mask follows, and that is all.
PONG_HEAD = b"\x8a\x80"
PONG_LENGTH = 6


class Socket(WebSocketProtocol):  # type: ignore[misc]
    """A WebSocket with a handle, and close codes with their reason."""

    handle: Handle
    heard = True

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self.heard = True
        if len(data) == PONG_LENGTH and data.startswith(PONG_HEAD) and self._awaits_a_frame():
            return  # the answer to a ping: that it was heard is all there is to it
        super().dataReceived(data)

    def _awaits_a_frame(self) -> bool:
        """Whether the next byte that comes begins a frame."""
        return self.state == self.STATE_OPEN and self.current_frame is None and not self.data

    def ping(self) -> bool:
        """See `keeping.Pinged`."""
        if self.state != self.STATE_OPEN:
            return False
        if not self.heard:
            self.dropConnection(abort=True)
            return False
        self.heard = False
        self.handle.send(PING_FRAME)
        return True

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N802, N803
        super().onMessage(payload, isBinary)
        if self.application_queue.qsize() >= INBOUND_LIMIT:
            self.transport.pauseProducing()

    def read_on(self) -> None:
        """The application took a message: read from the client again, if it was too far ahead."""
        if self.application_queue.qsize() == INBOUND_LIMIT - 1:
            self.transport.resumeProducing()

    def onOpen(self) -> None:  # noqa: N802
        self.transport.unregisterProducer()
        self.transport.registerProducer(self.handle, True)
        super().onOpen()
        self.server.pulse.add(self)
        if self.server.drain.begun:
            self.go_away()

    def handle_reply(self, message: dict[str, Any]) -> None:
        self.handle.flush()  # whatever comes by another way must not overtake it
        if message.get("type") == "websocket.close" and self.state == self.STATE_OPEN:
            self.handle.close(message.get("code", 1000), message.get("reason", ""))
        elif message.get("type") == "websocket.send" and self.state != self.STATE_OPEN:
            raise ConnectionResetError("The client is gone.")  # what ASGI has a server raise
        else:
            super().handle_reply(message)

    def go_away(self) -> None:
        """Tell the client to come back: the server restarts."""
        self.handle.close(RESTART_CODE, "restart")

    def sendData(self, *args: Any, **options: Any) -> None:  # noqa: N802
        self.handle.disturb()  # pings, pongs and close frames: they wait in the transport for its turn
        super().sendData(*args, **options)

    def _closeConnection(self, abort: bool = False) -> None:  # noqa: N802
        # With a producer that is paused, Twisted would never close the connection.
        self.handle.disturb()
        self.handle.stopProducing()
        self.transport.unregisterProducer()
        super()._closeConnection(abort)


def socket_class(factory: Any) -> type[Socket]:
    """`Socket` with the options that this factory has now as attributes of the class.

    Autobahn would copy them to every connection, and format them for a log line that nobody reads: a third of
    what a handshake costs. A class of its own for each factory, because two may differ.
    """
    options = {name: getattr(factory, name) for name in WebSocketProtocol.CONFIG_ATTRS}
    # A function in a class would become a method.
    options = {name: staticmethod(each) if callable(each) else each for name, each in options.items()}
    return type("Socket", (Socket,), {**options, "CONFIG_ATTRS": ()})


# Attributes that autobahn's parser keeps its state in: what has no meaning yet, and the frame it is in.
PARSER_STATE = ("data", "current_frame")
# What we rely on, by owner: attributes of the class, then of an instance after its making.
RELIED_ON: tuple[tuple[Any, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        WebSocketProtocol,
        (
            *("STATE_OPEN", "onOpen", "handle_reply", "sendCloseFrame", "sendData", "_closeConnection"),
            *("dataReceived", "dropConnection", "CONFIG_ATTRS", "processData"),
        ),
        (),
    ),
    (TcpConnection, ("registerProducer", "unregisterProducer", "writeSomeData"), ()),
    (FileDescriptor, ("dataBuffer", "offset", "write", "bufferSize"), ("_tempDataBuffer", "_tempDataLen")),
    (Server, ("create_application", "protocol_disconnected", "application_checker", "timeout_checker"), ()),
    (WebRequest, ("gotLength", "handleContentChunk", "process", "registerProducer", "finish"), ()),
    (HTTPChannel, ("MAX_LENGTH", "totalHeadersSize", "requestFactory", "persistent", "loseConnection"), ()),
    (Port, ("doRead", "stopListening"), ()),
)


def check_insides() -> None:
    """Raise UnknownInsides when this release of Daphne, Twisted or autobahn lacks what is relied on here."""
    missing = [
        f"{owner.__module__}.{owner.__name__}.{name}"
        for owner, of_class, of_instance in RELIED_ON
        for name in of_class + of_instance
        if not hasattr(owner(reactor=object()) if name in of_instance else owner, name)
    ]
    parsing = getattr(WebSocketProtocol, "processData", check_insides).__code__.co_names
    missing += [f"the parser's {name}" for name in PARSER_STATE if name not in parsing]
    if missing:
        releases = ", ".join(f"{name} {version(name)}" for name in ("daphne", "twisted", "autobahn"))
        raise UnknownInsides(
            f"Headwater does not know the insides of {releases}: {', '.join(missing)} is not there. "
            "Install the versions of the lock file."
        )
