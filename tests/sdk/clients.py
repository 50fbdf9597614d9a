"""Official SDK clients under one interface, so that one test drives them all.

What they hear is kept in order. An event's content has the same shape whatever the SDK: `data`, `offset`,
`info` and `tags` of a publication, `code` and `reason` of an end, `recovered` and `was_recovering` of a
subscription. Events of subscriptions that the server made are called `server_…`; `token` tells that a client
asked for one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

SECRET = "a secret of the tests, long enough for any hash"
TIMEOUT_S = 30.0
VALUES = ("data", "conn_info", "chan_info", "tags")

Content = dict[str, Any]


class Event(NamedTuple):
    """`channel` is empty for what is about the connection."""

    kind: str
    channel: str
    content: Content


class Refused(Exception):
    """The server answered a call with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code


def mint(user: str = "", *, lives_s: float | None = None, secret: str = SECRET, **claims: Any) -> str:
    """A token of this user; one that has expired already when `lives_s` is below zero."""
    if user:
        claims["sub"] = user
    if lives_s is not None:
        claims["exp"] = int(time.time() + lives_s)
    parts = [_base64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "HS256"}, claims)]
    signed = ".".join(parts)
    return f"{signed}.{_base64(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def snake(content: Any) -> Any:
    """What the JavaScript SDK tells, under Python's names; JSON values of the tests' own stay as they are."""
    if isinstance(content, list):
        return [snake(each) for each in content]
    if not isinstance(content, dict):
        return content
    renamed = {}
    for name, value in content.items():
        own = re.sub(r"[A-Z]", lambda capital: f"_{capital[0].lower()}", name)
        renamed[own] = value if own in VALUES else snake(value)
    return renamed


class Recorder:
    """Events in the order in which they came, taken one by one from another thread."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._changed = threading.Condition()

    def put(self, event: Event) -> None:
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def take(self, kind: str, channel: str) -> Content:
        """The oldest event of this kind that nobody took yet, waited for."""
        with self._changed:
            found = self._changed.wait_for(lambda: self._find(kind, channel), TIMEOUT_S)
            if found is None:
                raise TimeoutError(f"no {kind} of {channel or 'the connection'}; heard: {self._events}")
            self._events.remove(found)
            return found.content

    def _find(self, kind: str, channel: str) -> Event | None:
        return next((event for event in self._events if event[:2] == (kind, channel)), None)

    def kinds(self) -> list[str]:
        """Of what nobody took yet."""
        with self._changed:
            return [event.kind for event in self._events]


class Client(ABC):
    """One client of one SDK. Events are taken from `heard`, those of other kinds stay for later."""

    def __init__(self) -> None:
        self.heard = Recorder()

    def next(self, kind: str, channel: str = "") -> Content:
        """The next event of this kind."""
        return self.heard.take(kind, channel)

    def values(self, channel: str, count: int, *, kind: str = "publication") -> list[Any]:
        """The data of the next publications."""
        return [self.next(kind, channel)["data"] for _ in range(count)]

    def enter(self) -> Content:
        """Connect, and wait until that is done."""
        self.call("connect")
        return self.next("connected")

    def join(self, channel: str, **options: Any) -> Content:
        """Subscribe, and wait until that is done. `tokens` and `since` as in `subscribe`."""
        self.subscribe(channel, **options)
        return self.next("subscribed", channel)

    def subscribe(
        self,
        channel: str,
        *,
        tokens: Sequence[str] | None = None,
        since: Content | None = None,
        **options: Any,
    ) -> None:
        """Begin to subscribe; a channel known already again.

        tokens    handed to the SDK one after the other when it asks; none: the user is not allowed
        since     a position to recover from
        options   data, positioned, recoverable, join_leave, delta
        """
        given = {"tokens": tokens, "since": since} | options
        self.call(
            "subscribe",
            channel=channel,
            **{name: value for name, value in given.items() if value is not None},
        )

    def refused(self, method: str, /, **arguments: Any) -> int:
        """Make a call that the server must refuse; the error's code."""
        try:
            self.call(method, **arguments)
        except Refused as error:
            return error.code
        raise AssertionError(f"{method} was not refused")

    @abstractmethod
    def call(self, method: str, /, **arguments: Any) -> Any:
        """Call the SDK's method of this name and wait for it. Raises Refused with the server's error."""

    @abstractmethod
    def freeze(self) -> None:
        """Let the SDK neither read nor write until `thaw`."""

    @abstractmethod
    def thaw(self) -> None:
        """See `freeze`."""


class Sdk(ABC):
    """Makes clients of one SDK."""

    @abstractmethod
    def open(self, url: str, kind: str, *, tokens: Sequence[str] | None = None, **options: Any) -> Client:
        """A client that has not connected yet.

        url      ws://…, without a path
        kind     json, protobuf, http_stream, http_stream_protobuf or sse
        tokens   as with `Client.subscribe`; None: it connects without any
        """

    @abstractmethod
    def close(self) -> None:
        """End all that was made."""
