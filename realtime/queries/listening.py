"""Hears PostgreSQL's notifications of changed rows, on a connection of its own, replaced when it fails.

Anybody who may use the database may send one: what cannot be read counts as a change of anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections

from realtime.errors import Unavailable

from .changes import EVERYTHING, Change, text_of
from .plpgsql import CHANNEL

logger = logging.getLogger(__name__)

RETRY_S = 0.5
# A connection that is open and carries nothing, as of a pooler between transactions, is noticed by what we
# send to ourselves.
ECHO_EVERY_S = 10.0
ANSWER_S = 5.0
ECHO = "echo "
APPLICATION = "headwater listening"


async def listen(tell: Callable[[Change], Awaitable[None]], begin: Callable[[], Awaitable[None]]) -> None:
    """Await `tell` with every change that is notified, for ever. What is told next waits meanwhile.

    begin   awaited first with every new connection

    The first change of every connection is EVERYTHING: what was notified before is lost. If either raises
    Unavailable, a new connection is made.
    """
    away = False
    while True:
        try:
            async with asyncio.timeout(ANSWER_S * 2):
                connection = await psycopg.AsyncConnection.connect(**_parameters(), autocommit=True)
            try:
                await _execute(connection, f"LISTEN {CHANNEL}")
                await begin()
                await tell(EVERYTHING)
                if away:
                    logger.warning("listening_back")
                away = False
                await _hear(connection, tell)
            finally:
                with contextlib.suppress(psycopg.Error):
                    await connection.close()
        except (psycopg.Error, OSError, TimeoutError, Unavailable) as error:
            if not away:
                logger.warning("listening_away %s", str(error).strip() or type(error).__name__)
            away = True
            await asyncio.sleep(RETRY_S)


async def _hear(connection: psycopg.AsyncConnection[Any], tell: Callable[[Change], Awaitable[None]]) -> None:
    """Until the connection fails. Raises TimeoutError when what we send to ourselves does not arrive."""
    while True:
        token = ECHO + secrets.token_hex(8)
        await _execute(connection, f"NOTIFY {CHANNEL}, '{token}'")
        echoed = False
        async for notify in connection.notifies(timeout=ECHO_EVERY_S):
            if not notify.payload.startswith(ECHO):
                await tell(change_from(notify.payload))
            elif notify.payload == token:
                echoed = True
        if not echoed:
            raise TimeoutError("notifications do not arrive; is there a pooler in transaction mode?")


async def _execute(connection: psycopg.AsyncConnection[Any], sql: str) -> None:
    async with asyncio.timeout(ANSWER_S):
        await connection.execute(sql.encode())


def _parameters() -> dict[str, Any]:
    """How Django connects, less what is Django's own."""
    parameters = dict(connections[DEFAULT_DB_ALIAS].get_connection_params())
    for name in ("context", "cursor_factory", "prepare_threshold"):
        parameters.pop(name, None)
    return {"fallback_application_name": APPLICATION} | parameters


def change_from(payload: str) -> Change:
    """What a trigger notified."""
    try:
        message = json.loads(payload)
        columns, rows = message.get("c"), message.get("r")
        return Change(
            str(message["t"]),
            None if columns is None else frozenset(columns),
            None if rows is None else tuple(known(row) for row in rows),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return EVERYTHING


def known(row: dict[str, Any]) -> dict[str, str | None]:
    """A row's values as footprints compare them, without those that have no certain text."""
    values = {}
    for column, value in row.items():
        with contextlib.suppress(TypeError):
            values[column] = text_of(value)
    return values
