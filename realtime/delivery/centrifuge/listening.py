"""Clients that only listen: they say who they are, once, and are told what the server subscribed them to.

Over WebSocket at `/connection/uni_websocket`; `streams` has the others. JSON only.
"""

from __future__ import annotations

from typing import Any

from django.urls import path

from realtime.delivery.admission import query
from realtime.delivery.frames import frame_of
from realtime.delivery.socket import Message
from realtime.errors import BadInput
from realtime.feeds.publication import decode_data

from .commands import check_size, ending
from .connecting import connect
from .json_codec import CODEC, take_message
from .protocol import Disconnect, DisconnectCode
from .session import Session
from .websocket import CentrifugeConsumer, frame_in, negotiate
from .wire import Wire

FRAMED, PLAIN = Wire(CODEC, frame_of, bare=True), Wire(CODEC, bare=True)


class ListeningConsumer(CentrifugeConsumer):
    """The request comes in the address, as `cf_connect`, or as the first message. No other may follow."""

    def choose(self) -> tuple[Wire, str | None]:
        codec, subprotocol = negotiate(self.scope)
        if codec is not CODEC:
            raise BadInput("Clients that only listen are told in JSON.", field="format")
        return (PLAIN if self.handle is None else FRAMED), subprotocol

    async def begin(self) -> None:
        asked = dict(query(self.scope)).get("cf_connect")
        if asked:
            await listen(self.session, asked)

    async def hear(self, message: Message) -> None:
        await listen(self.session, frame_in(message))


async def listen(session: Session, request: str | bytes) -> None:
    """Connect by a bare ConnectRequest in JSON; nothing at all is the same as `{}`.

    The first push tells of it. There is no reply that could tell of a failure: that ends the session.
    """
    with ending(session):
        check_size(request)
        answer = await connect(session, _params(request))
        session.push({"connect": answer.result})
        if answer.then is not None:
            answer.then()


def _params(request: str | bytes) -> dict[str, Any]:
    problems: list[BadInput] = []
    try:
        params = take_message("ConnectRequest", decode_data(request or "{}"), problems, "the request")
    except BadInput as problem:
        problems.append(problem)
    if problems:
        raise Disconnect(DisconnectCode.BAD_REQUEST, f"bad request: {problems[0].message}")
    return params


routes = [path("connection/uni_websocket", ListeningConsumer.as_asgi())]
