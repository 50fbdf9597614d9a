"""The protocol over WebSocket, at `/connection/websocket`: JSON or Protobuf, by sub-protocol or query."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

from django.urls import path

from realtime.delivery.admission import check_host, check_origin, query
from realtime.delivery.frames import frame_of
from realtime.delivery.socket import Farewell, Message, Receive, SocketConsumer
from realtime.errors import HeadwaterError
from realtime.feeds.runtime import Feeds

from . import commands, json_codec, protobuf_codec
from .codec import Codec
from .door import Door
from .session import Session
from .wire import Wire

JSON = json_codec.CODEC
PROTOBUF = protobuf_codec.CODEC
# Finished frames for the server's own handle, and messages for servers that frame them.
FRAMED = {codec.name: Wire(codec, frame_of) for codec in (JSON, PROTOBUF)}
PLAIN = {codec.name: Wire(codec) for codec in (JSON, PROTOBUF)}
SUBPROTOCOLS: dict[str, Codec[Any]] = {"centrifuge-json": JSON, "centrifuge-protobuf": PROTOBUF}


class CentrifugeConsumer(SocketConsumer):
    """One socket from the handshake to the close."""

    async def run(self, receive: Receive) -> None:
        """Shake hands, then take messages until the client has gone."""
        await receive()  # websocket.connect
        try:
            check_host(self.scope)
            check_origin(self.scope)
            wire, subprotocol = self.choose()
        except HeadwaterError:
            # Before it is accepted: the handshake is answered with 403.
            await self.base_send({"type": "websocket.close"})
            return
        await self.base_send({"type": "websocket.accept", "subprotocol": subprotocol})
        self.session = Session(Door.of(Feeds.current()), wire)
        async with contextlib.AsyncExitStack() as self.leaving:
            self.session.out = self.open_connection(
                self.session.render, feeds=math.inf, latest_only=self.session.latest_only
            )
            self.leaving.callback(self.session.leave)
            await self.begin()
            while (message := await receive())["type"] != "websocket.disconnect":
                if self.handle is not None:
                    self.handle.heard()
                if not self.closed:
                    await self.hear(message)

    def choose(self) -> tuple[Wire, str | None]:
        """The wire, and the sub-protocol to echo. Raises BadInput for what is not spoken here."""
        codec, subprotocol = negotiate(self.scope)
        return (PLAIN if self.handle is None else FRAMED)[codec.name], subprotocol

    async def begin(self) -> None:
        """Before the first message is taken."""

    def farewell(self, error: HeadwaterError) -> Farewell:
        """A push with the code, and the same code on the close."""
        disconnect = self.session.farewell(error)
        last = self.session.wire.unframed({"disconnect": disconnect.push})
        return Farewell(last, int(disconnect.code), disconnect.reason)

    async def hear(self, message: Message) -> None:
        """One message of the client."""
        await commands.hear(self.session, frame_in(message))


def frame_in(message: Message) -> str | bytes:
    """What a WebSocket message holds."""
    text: str | None = message.get("text")
    return text if text is not None else message.get("bytes") or b""


def negotiate(scope: Mapping[str, Any]) -> tuple[Codec[Any], str | None]:
    """The codec, and the sub-protocol to echo: Protobuf wherever the client offers or asks for it."""
    offered = [name for name in scope.get("subprotocols", ()) if name in SUBPROTOCOLS]
    if offered:
        chosen = "centrifuge-protobuf" if "centrifuge-protobuf" in offered else offered[0]
        return SUBPROTOCOLS[chosen], chosen
    asked = dict(query(scope))
    binary = "protobuf" in (asked.get("format"), asked.get("cf_protocol"))
    return (PROTOBUF if binary else JSON), None


routes = [path("connection/websocket", CentrifugeConsumer.as_asgi())]
