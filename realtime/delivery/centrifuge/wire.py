"""How replies and pushes leave on one kind of transport, each publication encoded once for everybody."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from realtime.delivery.frames import Event
from realtime.feeds.channels import channel_of_slug
from realtime.feeds.publication import Publication, Snapshot, timestamp

from . import fossil
from .codec import Codec, Raw


class Mode(Enum):
    """How a publication's data is written."""

    PLAIN = "plain"  # no delta was agreed
    WHOLE = "whole"  # one was agreed, and this is the whole value
    DELTA = "delta"  # against the publication before, or the whole value where that is not longer


def _as_it_is(payload: Any) -> Any:
    return payload


@dataclass(frozen=True, eq=False, slots=True)
class Wire:
    """A codec, and what its payloads are put into.

    frame   makes of a payload what the transport sends
    bare    pushes go without a reply around them, as unidirectional transports want
    """

    codec: Codec[Any]
    frame: Callable[[Any], Any] = _as_it_is
    bare: bool = False

    def reply(self, reply: Mapping[str, Any]) -> Any:
        """One reply to a command; an empty one is a ping."""
        return self.frame(self.codec.encode(reply))

    def push(self, push: Mapping[str, Any]) -> Any:
        """One message that no command asked for."""
        return self.frame(self.unframed(push))

    def unframed(self, push: Mapping[str, Any]) -> Any:
        """The same, as the codec makes it."""
        return self.codec.encode_push(push) if self.bare else self.codec.encode({"push": push})


@dataclass(frozen=True, eq=False, slots=True)
class Form:
    """How publications are written to all who get the same bytes: one object, by which events keep them.

    dated   with the moment of its publication as the tag `published_at`, which every SDK hands on
    """

    wire: Wire
    mode: Mode
    dated: bool

    def push(self, event: Event) -> Any:
        """An event with a value as a push: made at the first call, the same object at every other one."""
        made = event.encoded.get(self)
        if made is None:
            push = {"channel": channel_of_slug(event.slug), "pub": self.listed(event)}
            made = event.encoded[self] = self.wire.push(push)
        return made

    def listed(self, event: Event) -> dict[str, Any]:
        """An event's value as replies list it, recovered ones for example."""
        assert event.value is not None
        pub = publication_of(event.value, dated=self.dated)
        if self.mode is not Mode.PLAIN:
            shorter = delta_of(event) if self.mode is Mode.DELTA else None
            if shorter is not None:
                pub["delta"] = True
            pub["data"] = self.wire.codec.pack(shorter or event.value.data.encode())
        return pub


@cache
def form_of(wire: Wire, mode: Mode, *, dated: bool = False) -> Form:
    """The one form of these. Wires are few, and made when their modules are imported."""
    return Form(wire, mode, dated)


def publication_of(value: Publication | Snapshot, *, dated: bool = False) -> dict[str, Any]:
    """A value as the protocol describes it; `dated` as in `Form`."""
    pub: dict[str, Any] = {"data": Raw(value.data), "offset": value.offset}
    if value.published_at is not None:
        pub["time"] = round(value.published_at.timestamp() * 1000)
    if value.info:
        pub["info"] = Raw(value.info)
    if dated and value.published_at is not None:
        pub["tags"] = json.loads(value.tags or "{}") | {"published_at": timestamp(value.published_at)}
    elif value.tags:
        pub["tags"] = Raw(value.tags)
    return pub


def delta_of(event: Event) -> bytes | None:
    """From the value before to this one; None when that is unknown or the delta is not shorter."""
    if event.before is None or event.value is None:
        return None
    made = event.encoded.get("fossil")
    if made is None:
        made = event.encoded["fossil"] = (
            fossil.encode(event.before.encode(), event.value.data.encode()) or b""
        )
    assert isinstance(made, bytes)
    return made or None
