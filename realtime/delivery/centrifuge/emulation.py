"""What clients say whose stream carries news one way only: `POST /emulation`, to whichever process it comes.

`{"session", "node", "data"}`: `data` are commands, for a session on a process that calls itself `node`. It is
handed over here or, by a signal over the channel layer, there; what comes back is whether it was taken. What
the commands come to is told on the session's own stream.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import uuid
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from django.utils.crypto import constant_time_compare, salted_hmac

from realtime.conf import conf
from realtime.delivery.admission import Scope, check_host, check_origin, header
from realtime.delivery.backlog import size_of
from realtime.delivery.codes import internal_error
from realtime.delivery.streaming import (
    HttpError,
    MethodNotAllowed,
    Receive,
    Send,
    answer,
    cors_headers,
    preflight_headers,
    read_body,
    refuse,
)
from realtime.errors import BadInput, HeadwaterError, NotAllowed, NotFound, TooLarge, Unavailable
from realtime.feeds.broker import Broker
from realtime.feeds.publication import decode_data
from realtime.feeds.runtime import Feeds

from .door import Door
from .nodes import group_of_node
from .protobuf_codec import parse

logger = logging.getLogger(__name__)

PATH = "/emulation"
BINARY = "application/octet-stream"
# Frames of one session that wait for their turn, as many as a WebSocket's.
WAITING_LIMIT = 64
# Requests of one process that wait for another's answer.
PASSED_ON_LIMIT = 256
ANSWER_WITHIN_S = 3.0

Frame = str | bytes


class Taken(Enum):
    """What becomes of a frame."""

    YES = "yes"
    FULL = "full"  # too many wait before it
    UNKNOWN = "unknown"  # no such session


class TooManyRequests(HttpError):
    """More than may wait; this one was dropped."""

    code = "too_many_requests"
    status = 429


class Request(NamedTuple):
    """The frame for a session of a process."""

    node: str
    session: str
    data: Frame


class Inbox:
    """What was said to one session and waits for its turn, in the order of arrival."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self._frames: asyncio.Queue[Frame] = asyncio.Queue(WAITING_LIMIT)

    def put(self, frame: Frame) -> Taken:
        """Queue it, if there is room."""
        try:
            self._frames.put_nowait(frame)
        except asyncio.QueueFull:
            return Taken.FULL
        return Taken.YES

    async def get(self) -> Frame:
        """The next."""
        return await self._frames.get()


class Emulation:
    """The inboxes of one process, which calls itself `node`, and the way to those of other processes.

    alone   there are no others
    """

    def __init__(self, broker: Broker, node: str, *, alone: bool) -> None:
        self.node = node
        self._alone = alone
        self._broker = broker
        self._inboxes: dict[str, Inbox] = {}
        self._answers: dict[str, asyncio.Future[Taken]] = {}
        self._broker.hear("emulation", self._hear_request)
        self._broker.hear("emulation answer", self._hear_answer)

    @classmethod
    def of(cls, feeds: Feeds) -> Emulation:
        """The one of these feeds."""
        return feeds.part(_emulation_of)

    async def open(self) -> Inbox:
        """An inbox that can be reached from everywhere. `close` must follow."""
        await self._broker.join_group(group_of_node(self.node))
        name = uuid.uuid4().hex
        inbox = Inbox(name + _mark(self.node, name))
        self._inboxes[inbox.secret] = inbox
        return inbox

    def close(self, inbox: Inbox) -> None:
        """Take nothing more for it."""
        self._inboxes.pop(inbox.secret, None)

    async def hand_over(self, request: Request) -> Taken:
        """Put the frame into its session's inbox, on whichever process that is.

        Raises Unavailable when that cannot be found out now: the frame may have been taken nevertheless.
        """
        if request.node == self.node:
            return self._take(request.session, request.data)
        if self._alone or not _is_genuine(request):
            return Taken.UNKNOWN
        return await self._pass_on(request)

    def _take(self, secret: str, frame: Frame) -> Taken:
        inbox = self._inboxes.get(secret)
        return Taken.UNKNOWN if inbox is None else inbox.put(frame)

    async def _pass_on(self, request: Request) -> Taken:
        if len(self._answers) >= PASSED_ON_LIMIT or not self._broker.connected:
            raise Unavailable("Other processes cannot be asked now. Reconnect.")
        number = uuid.uuid4().hex
        answered = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._broker.join_group(group_of_node(self.node))
            signal = {"kind": "emulation", "number": number, "from": self.node, "session": request.session}
            self._broker.signal(group_of_node(request.node), signal | _packed(request.data))
            async with asyncio.timeout(ANSWER_WITHIN_S):
                taken: Taken = await answered
                return taken
        except TimeoutError:
            if not self._broker.connected:
                raise Unavailable("Other processes cannot be asked now. Reconnect.") from None
            return Taken.UNKNOWN  # its process has ended
        finally:
            del self._answers[number]

    def _hear_request(self, signal: Mapping[str, Any]) -> None:
        taken = self._take(signal["session"], _unpacked(signal))
        answer = {"kind": "emulation answer", "number": signal["number"], "taken": taken.value}
        self._broker.signal(group_of_node(signal["from"]), answer)

    def _hear_answer(self, signal: Mapping[str, Any]) -> None:
        answered = self._answers.get(signal["number"])
        if answered is not None and not answered.done():
            answered.set_result(Taken(signal["taken"]))


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """One request, from whichever client."""
    cors = cors_headers(scope)
    try:
        check_host(scope)
        try:
            check_origin(scope)
        except NotAllowed:
            # Nothing is done by GET. A foreign page that asks may read why it is refused.
            if scope["method"] == "GET":
                cors = [*cors, (b"access-control-allow-origin", b"*")]
            raise
        if scope["method"] == "OPTIONS":
            await answer(send, 204, [*cors, *preflight_headers("POST")])
            return
        if scope["method"] != "POST":
            raise MethodNotAllowed("Only POST: commands are sent here.", allowed="POST")
        await _accept(await _read(scope, receive))
    except HeadwaterError as error:
        await refuse(send, error, cors)
    except OSError:
        return  # the client has gone
    except Exception:
        logger.exception("emulation_failed")
        await refuse(send, internal_error(), cors)
    else:
        await answer(send, 204, cors)


async def _accept(request: Request) -> None:
    taken = await Emulation.of(Feeds.current()).hand_over(request)
    if taken is Taken.UNKNOWN:
        raise NotFound("There is no such session, or no such node any more. Reconnect.", field="session")
    if taken is Taken.FULL:
        raise TooManyRequests(f"{WAITING_LIMIT} requests wait for this session. Send again, later.")


async def _read(scope: Scope, receive: Receive) -> Request:
    limit = conf().message_limit_bytes
    # Commands in a JSON string have a backslash before every quotation mark.
    body = await read_body(receive, limit_bytes=2 * limit)
    request = (_from_protobuf if header(scope, b"content-type") == BINARY else _from_json)(body)
    if size_of(request.data) > limit:
        raise TooLarge(f"data: the limit is {limit:,} bytes.", field="data")
    return request


def _from_json(body: bytes) -> Request:
    given = decode_data(body, field="body")
    if not isinstance(given, dict):
        raise BadInput("body: give an object.", field="body")
    return Request(*(_text(given, name) for name in Request._fields))


def _text(given: Mapping[str, Any], name: str) -> str:
    text = given.get(name)
    if not isinstance(text, str):
        raise BadInput(f"{name}: give a string.", field=name)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{name}: holds half of a surrogate pair.", field=name) from None
    return text


def _from_protobuf(body: bytes) -> Request:
    given = parse("EmulationRequest", body)
    return Request(given.node, given.session, given.data)


def _emulation_of(feeds: Feeds) -> Emulation:
    return Emulation(feeds.broker, Door.of(feeds).node, alone=not conf().redis_url)


def _mark(node: str, name: str) -> str:
    return salted_hmac("headwater.emulation", f"{node} {name}", algorithm="sha256").hexdigest()[:32]


def _is_genuine(request: Request) -> bool:
    """Whether a process with our key gave out this secret. For what is made up, nobody is asked."""
    name, mark = request.session[:-32], request.session[-32:]
    return constant_time_compare(mark, _mark(request.node, name))


def _packed(frame: Frame) -> dict[str, str]:
    if isinstance(frame, str):
        return {"text": frame}
    return {"base64": base64.b64encode(frame).decode()}


def _unpacked(signal: Mapping[str, Any]) -> Frame:
    return signal["text"] if "text" in signal else base64.b64decode(signal["base64"])
