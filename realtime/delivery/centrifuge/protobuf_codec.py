"""The Protobuf form: messages behind their length as a varint, both ways. An empty one is a ping or pong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError, Message

from realtime.errors import BadInput
from realtime.feeds.publication import decode_data

from .codec import Command, Raw, command_of, raw_of_text, refuse
from .json_codec import take_field, take_message
from .schema import CLASSES, MESSAGES, Field

_COMMAND, _REPLY, _PUSH = CLASSES["Command"], CLASSES["Reply"], CLASSES["Push"]
# Nothing that fits into a message of ours needs a longer one.
_VARINT_LIMIT = 5


class ProtobufCodec:
    """See `Codec`. JSON values travel as their UTF-8 text."""

    name = "protobuf"

    def decode(self, frame: str | bytes) -> list[Command | None]:
        """See `Codec`. A text frame is refused."""
        if isinstance(frame, str):
            refuse("Protobuf travels in binary messages")
        commands = [_command(part) for part in _split(frame)]
        if not commands:
            refuse("an empty frame")
        return commands

    def encode(self, reply: Mapping[str, Any]) -> bytes:
        """See `Codec`. The payload carries its length."""
        return _delimited(_REPLY(**_values("Reply", reply)))

    def encode_push(self, push: Mapping[str, Any]) -> bytes:
        """See `Codec`. The payload carries its length."""
        return _delimited(_PUSH(**_values("Push", push)))

    def join(self, payloads: Sequence[bytes]) -> bytes:
        """See `Codec`."""
        return b"".join(payloads)

    def pack(self, data: bytes) -> bytes:
        """See `Codec`. The bytes themselves."""
        return data


CODEC = ProtobufCodec()


def parse(name: str, body: bytes) -> Any:
    """The message of that name alone, without its length. Raises BadInput when it is none."""
    try:
        return CLASSES[name].FromString(body)
    except DecodeError:
        raise BadInput(f"body: not a message of the type {name}.", field="body") from None


def _split(frame: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(frame):
        size = 0
        for shift in range(_VARINT_LIMIT):
            if at == len(frame):
                refuse("a length is cut off")
            byte = frame[at]
            at += 1
            size |= (byte & 0x7F) << 7 * shift
            if byte < 0x80:
                break
        else:
            refuse("a length that is too large")
        if at + size > len(frame):
            refuse("a message is cut off")
        yield frame[at : at + size]
        at += size


def _delimited(message: Message) -> bytes:
    body = message.SerializeToString()
    size, prefix = len(body), bytearray()
    while size > 0x7F:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    prefix.append(size)
    return bytes(prefix) + body


def _command(body: bytes) -> Command | None:
    problems: list[BadInput] = []
    try:
        message = _COMMAND.FromString(body)
    except DecodeError:
        refuse("not a message of this protocol")
    return command_of(_take("Command", message, problems), problems)


def _take(name: str, message: Message, problems: list[BadInput]) -> dict[str, Any]:
    taken = {}
    for described, value in message.ListFields():
        field = MESSAGES[name][described.name]
        if field.many == "map":
            found: Any = {key: _take_one(field, value[key], problems) for key in value}
        else:
            found = _take_one(field, value, problems)
        if found or field.is_message:
            taken[field.name] = found
    return taken


def _take_one(field: Field, value: Any, problems: list[BadInput]) -> Any:
    if field.is_message:
        return _take(field.kind, value, problems)
    if field.kind != "json":
        return value
    try:
        return raw_of_text(value.decode())
    except UnicodeDecodeError as error:
        problems.append(BadInput(f"{field.name}: not UTF-8 at byte {error.start}.", field=field.name))
    except BadInput as problem:
        problems.append(problem)
    return ""


def _values(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    fields = MESSAGES[name]
    return {key: _value(fields[key], value) for key, value in given.items() if value or value == {}}


def _value(field: Field, value: Any) -> Any:
    if type(value) is Raw and field.kind != "json":
        # Kept as JSON text with its publication: `info` and `tags`.
        value = take_field(field, decode_data(value), [], field.name)
    if field.many == "map":
        return {key: _one(field.kind, item) for key, item in value.items()}
    if field.many == "list":
        return [_one(field.kind, item) for item in value]
    return _one(field.kind, value)


def _one(kind: str, value: Any) -> Any:
    if kind == "json":
        return value.encode() if isinstance(value, str) else value
    if kind not in MESSAGES:
        return value
    # Kept as JSON text where it comes from: who is present, for example.
    return _values(kind, take_message(kind, decode_data(value), []) if type(value) is Raw else value)
