"""What both codecs share: commands, JSON values as text, and what a frame may hold.

A codec turns frames into commands and mappings into payloads, and knows no rule of the protocol beyond the
form of its messages.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, NoReturn, Protocol, TypeVar

from realtime.errors import BadInput
from realtime.feeds.publication import decode_data, encode_data

from .protocol import Disconnect, DisconnectCode, ErrorCode, ProtocolError

Payload = TypeVar("Payload", str, bytes)


class Raw(str):
    """A JSON value as its text, strict and on one line. Pasted into what is sent, never parsed again.

    Made of a text that is known to be that; `raw_of_value` and `raw_of_text` make sure.
    """

    __slots__ = ()


class Command(NamedTuple):
    """One command of a client.

    id       0 only for `send`
    method   a name of `schema.METHODS`; "" when none was given that is known
    params   by the request's names; what is missing, zero, false or empty is absent. Whole numbers are within
             their type's range, JSON values are Raw, maps and messages dicts
    error    what is wrong with a JSON value in it, which is absent then: the answer to this command
    """

    id: int
    method: str
    params: dict[str, Any]
    error: ProtocolError | None = None


class Codec(Protocol, Generic[Payload]):
    """JSON or Protobuf. A frame is one payload or several that are joined.

    Mappings for `encode` have the names of the protocol's messages. None, false, 0, "" and [] are left out,
    {} is not: a result is there even when it is empty. A JSON value is Raw, or what `pack` gave; Raw may
    stand for a message or a map as well.
    """

    name: str

    def decode(self, frame: str | bytes) -> list[Command | None]:
        """The frame's commands, at least one, in order; None is a pong.

        Raises Disconnect (3501) for whatever is not one of this codec's frames, naming the field where one is
        to blame, and never anything else.
        """
        ...

    def encode(self, reply: Mapping[str, Any]) -> Payload:
        """One Reply: `{"id": 1, "rpc": {…}}`, `{"id": 1, "error": {…}}`, `{"push": {…}}`, or a ping: `{}`."""
        ...

    def encode_push(self, push: Mapping[str, Any]) -> Payload:
        """A Push without its Reply, as unidirectional transports send it."""
        ...

    def join(self, payloads: Sequence[Payload]) -> Payload:
        """Several payloads as one frame."""
        ...

    def pack(self, data: bytes) -> Raw | bytes:
        """A publication's `data` where delta was agreed, from the value's UTF-8 text or a delta of two."""
        ...


def raw_of_value(value: Any) -> Raw:
    """The value's compact JSON text. Raises BadInput naming `data` for what JSON cannot say."""
    return Raw(encode_data(value, limit_bytes=sys.maxsize))


def raw_of_text(text: str) -> Raw:
    """The text, character by character, when it is strict JSON on one line; else the same value on one.

    Raises BadInput naming `data` for anything else.
    """
    value = decode_data(text)
    if "\n" in text or "\r" in text:
        return raw_of_value(value)
    if "\\" in text:
        # An escape may be half of a surrogate pair, which only encoding notices.
        raw_of_value(value)
    return Raw(text)


def command_of(fields: dict[str, Any], problems: Sequence[BadInput]) -> Command | None:
    """The command of a decoded message whose JSON values had these problems; None (a pong) if it is empty."""
    number = fields.pop("id", 0)
    if len(fields) > 1:
        refuse(f"one method at a time, not {' and '.join(sorted(fields))}")
    method, params = next(iter(fields.items()), ("", {}))
    if not number and not method:
        return None
    if not number and method != "send":
        refuse(f"{method} needs an id")
    error = ProtocolError(ErrorCode.BAD_REQUEST, problems[0].message) if problems else None
    return Command(number, method, params, error)


def refuse(why: str) -> NoReturn:
    """Raise the Disconnect of a frame that is none."""
    raise Disconnect(DisconnectCode.BAD_REQUEST, f"bad request: {why}")
