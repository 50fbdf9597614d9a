"""Commands in order: which function answers which method, and what becomes of an error."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from realtime.conf import conf
from realtime.delivery.backlog import size_of
from realtime.errors import HeadwaterError

from .answer import Answer
from .codec import Command
from .connecting import connect, refresh
from .content import history, presence, presence_stats, publish
from .protocol import Disconnect, DisconnectCode, ErrorCode, ProtocolError, disconnect_of, error_of
from .rpc import take_message
from .session import Session
from .subscribing import open_ahead, sub_refresh, subscribe, unsubscribe

logger = logging.getLogger(__name__)

# So that one long frame does not keep the loop from everybody else.
YIELD_EVERY = 32
TOO_LARGE = 1009


async def _ping(session: Session, params: Mapping[str, Any]) -> Answer:
    raise ProtocolError(ErrorCode.NOT_AVAILABLE)


HANDLERS: dict[str, Callable[[Session, Mapping[str, Any]], Awaitable[Answer]]] = {
    "connect": connect,
    "subscribe": subscribe,
    "unsubscribe": unsubscribe,
    "publish": publish,
    "presence": presence,
    "presence_stats": presence_stats,
    "history": history,
    "ping": _ping,
    "refresh": refresh,
    "sub_refresh": sub_refresh,
}


async def hear(session: Session, frame: str | bytes) -> None:
    """Take one frame: commands and pongs, in order. What the protocol does not forgive ends the session."""
    with ending(session):
        check_size(frame)
        commands = session.wire.codec.decode(frame)
        if len(commands) > 1:
            with busy(session):
                await open_ahead(session, commands)
        for number, command in enumerate(commands, 1):
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            if command is None:
                session.hear_pong()
                continue
            with busy(session):
                await run(session, command)
                if command.method == "connect":
                    await open_ahead(session, commands[number:])


@contextlib.contextmanager
def busy(session: Session) -> Iterator[None]:
    """What the client says next waits behind this."""
    session.busy = True
    try:
        yield
    finally:
        session.busy = False


def check_size(frame: str | bytes) -> None:
    """Raises Disconnect for a frame over the limit."""
    if size_of(frame) > conf().message_limit_bytes:
        raise Disconnect(TOO_LARGE, "message too large")


@contextlib.contextmanager
def ending(session: Session) -> Iterator[None]:
    """Close the session with the right code for whatever is raised inside; what nobody expected is logged."""
    try:
        yield
    except (Disconnect, ProtocolError, HeadwaterError) as error:
        session.close(disconnect_of(error))
    except Exception as error:
        logger.exception("session_failed")
        session.close(disconnect_of(error))


async def run(session: Session, command: Command) -> None:
    """Take one command and answer it. Raises Disconnect for what the protocol does not forgive."""
    if session.identity is None and command.method != "connect":
        raise Disconnect(DisconnectCode.BAD_REQUEST, "connect first")
    if command.method == "send":
        take_message(session, command.params)
        return
    if command.method == "rpc" and command.error is None:
        session.door.calls.start(session, command.id, command.params)
        return
    handler = HANDLERS.get(command.method)
    try:
        if command.error is not None:
            raise command.error
        if handler is None:
            raise ProtocolError(ErrorCode.METHOD_NOT_FOUND)
        answer = await handler(session, command.params)
    except (ProtocolError, HeadwaterError) as error:
        session.refuse(command.id, error_of(error))
    except Disconnect:
        raise
    except Exception as error:
        logger.exception("command_failed method=%s", command.method)
        session.refuse(command.id, error_of(error))
    else:
        session.reply(command.id, command.method, answer.result)
        if answer.then is not None:
            answer.then()
