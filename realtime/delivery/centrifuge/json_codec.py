"""The JSON form: objects separated by newlines, both ways."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

from realtime.errors import BadInput
from realtime.feeds.publication import decode_data

from .codec import Command, Raw, command_of, raw_of_value, refuse
from .schema import INTEGERS, MESSAGES, Field

_BLANKS = {ord("\n"): " ", ord("\r"): " "}
_quote: Callable[[str], str] = encode_basestring_ascii


class JsonCodec:
    """See `Codec`. Text that is not a JSON value inside is escaped to ASCII."""

    name = "json"

    def decode(self, frame: str | bytes) -> list[Command | None]:
        """See `Codec`. UTF-8 bytes are taken as text."""
        try:
            text = frame if isinstance(frame, str) else frame.decode()
        except UnicodeDecodeError:
            refuse("not UTF-8")
        commands = [_command(line) for line in text.split("\n") if line and not line.isspace()]
        if not commands:
            refuse("an empty frame")
        return commands

    def encode(self, reply: Mapping[str, Any]) -> str:
        """See `Codec`."""
        text = _object(reply)
        # A raw line break in JSON can only stand between two tokens, where a blank means the same.
        return text.translate(_BLANKS) if "\n" in text or "\r" in text else text

    def encode_push(self, push: Mapping[str, Any]) -> str:
        """See `Codec`."""
        return self.encode(push)

    def join(self, payloads: Sequence[str]) -> str:
        """See `Codec`."""
        return "\n".join(payloads)

    def pack(self, data: bytes) -> Raw:
        """See `Codec`. A JSON string with that text."""
        return Raw(encode_basestring(data.decode()))


CODEC = JsonCodec()


def take_message(name: str, value: Any, problems: list[BadInput], path: str = "") -> dict[str, Any]:
    """The message's known fields, with what is null, zero, false or empty left out.

    Raises Disconnect naming the field whose type is another. What JSON values lack goes to `problems`.
    """
    if type(value) is not dict:
        refuse(f"{path or 'a command'}: give an object")
    fields, taken = MESSAGES[name], {}
    for key, given in value.items():
        field = fields.get(key)
        if field is None or (given is None and field.kind != "json"):
            continue
        found = take_field(field, given, problems, f"{path}.{key}" if path else key)
        if found or (found == {} and not field.many):
            taken[key] = found
    return taken


def take_field(field: Field, given: Any, problems: list[BadInput], path: str) -> Any:
    """What `take_message` takes of one field."""
    if field.many == "list":
        if type(given) is not list:
            refuse(f"{path}: give a list")
        return [_take(field.kind, item, problems, path) for item in given]
    if field.many == "map":
        if type(given) is not dict:
            refuse(f"{path}: give an object")
        return {_string(key, path): _take(field.kind, item, problems, path) for key, item in given.items()}
    return _take(field.kind, given, problems, path)


def _take(kind: str, given: Any, problems: list[BadInput], path: str) -> Any:
    if kind == "string":
        return _string(given, path)
    if kind == "bool":
        if type(given) is not bool:
            refuse(f"{path}: give true or false")
        return given
    if kind == "json":
        try:
            return raw_of_value(given)
        except BadInput as problem:
            problems.append(problem)
            return ""
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        if type(given) is not int or not low <= given <= high:
            refuse(f"{path}: give a whole number from {low} to {high}")
        return given
    return take_message(kind, given, problems, path)


def _string(given: Any, path: str) -> str:
    if type(given) is not str:
        refuse(f"{path}: give a string")
    if not given.isascii():
        try:
            given.encode()
        except UnicodeEncodeError:
            refuse(f"{path}: holds half of a surrogate pair")
    return given


def _command(line: str) -> Command | None:
    problems: list[BadInput] = []
    try:
        value = decode_data(line)
    except BadInput:
        refuse("not JSON")
    return command_of(take_message("Command", value, problems), problems)


def _object(fields: Mapping[str, Any]) -> str:
    parts = [f"{_quote(key)}:{_text(value)}" for key, value in fields.items() if value or value == {}]
    return "{" + ",".join(parts) + "}"


def _text(value: Any) -> str:
    kind = type(value)
    if kind is Raw:
        return str(value)
    if kind is str:
        return _quote(value)
    if kind is dict:
        return _object(value)
    if kind is list:
        return "[" + ",".join([_text(item) for item in value]) + "]"
    return json.dumps(value)
