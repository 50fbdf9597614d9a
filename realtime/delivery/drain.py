"""The end of a server's connections: clients are sent elsewhere, requests in hand are finished, ports close.

It knows nothing of what is served; `serve` ends the work behind the doors afterwards.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .daphne import Socket
from .daphne_http import Request
from .handle import unsent

logger = logging.getLogger(__name__)

# One client after the other, so that they do not come back all at once; with many of them, faster.
CLIENT_EVERY_S = 0.01
LONGEST_SPREAD_S = 5.0
# From the signal on. Who needs longer is cut off.
LIMIT_S = 12.0
LOOK_EVERY_S = 0.02


class Drain:
    """From the signal to the last connection's end, within `LIMIT_S`.

    While it runs the ports stay open, so that whoever still asks gets an answer: `/readyz` says "not ready",
    new WebSockets are refused with 503 and new streams without an answer, everything else is answered and
    its connection closed. When the last client has gone, the ports close and what is in hand is finished.

    connections   Daphne's: what it knows of each of its protocols
    ports         those that are listened on
    channels      all HTTP connections, whose answers may not have left completely
    """

    def __init__(self) -> None:
        self.begun = False
        self.hurried = False

    def hurry(self) -> None:
        """Wait for nobody any more. WebSockets are still told that the server restarts."""
        self.hurried = True

    async def run(
        self, connections: Mapping[Any, dict[str, Any]], ports: Iterable[Any], channels: Iterable[Any]
    ) -> None:
        """Return when nobody is connected who would be missed."""
        self.begun = True
        deadline = asyncio.get_running_loop().time() + LIMIT_S
        for protocol in _present(connections):
            if isinstance(protocol, Request):
                protocol.close_after_answer()
        await self._send_away(_clients(connections))
        await self._until(lambda: not _clients(connections), deadline)
        for port in ports:
            port.doRead()  # who waits to be taken would find the connection reset
            port.stopListening()
        await self._until(lambda: not (_present(connections) or any(map(_is_sending, channels))), deadline)
        if not self.hurried and (late := sum(map(_is_sending, channels))):
            logger.warning("drain_cut_off answers=%s", late)
        await _cut_off(connections)

    async def _send_away(self, clients: list[Socket | Request]) -> None:
        loop = asyncio.get_running_loop()
        logger.info("drain_begun clients=%s", len(clients))
        pace_s = min(CLIENT_EVERY_S, LONGEST_SPREAD_S / max(len(clients), 1))
        started = loop.time()
        for number, client in enumerate(clients, 1):
            client.go_away()
            if not self.hurried:
                await asyncio.sleep(started + number * pace_s - loop.time())

    async def _until(self, reached: Callable[[], bool], deadline: float) -> None:
        loop = asyncio.get_running_loop()
        # Daphne tells nobody of the ends that are waited for here.
        while not (self.hurried or reached()) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_EVERY_S)


def _present(connections: Mapping[Any, dict[str, Any]]) -> list[Any]:
    """The protocols whose client is connected or whose application is at work."""
    return [
        protocol
        for protocol, details in connections.items()
        if "disconnected" not in details or _application(details) is not None
    ]


def _clients(connections: Mapping[Any, dict[str, Any]]) -> list[Socket | Request]:
    """Who stays until told to go: WebSockets, and requests that became streams."""
    return [
        protocol
        for protocol in _present(connections)
        if isinstance(protocol, Socket) or protocol.buffer is not None
    ]


def _application(details: dict[str, Any]) -> asyncio.Task[None] | None:
    application: asyncio.Task[None] | None = details.get("application_instance")
    return None if application is None or application.done() else application


def _is_sending(channel: Any) -> bool:
    return bool(channel.transport.connected) and unsent(channel.transport) > 0


async def _cut_off(connections: Mapping[Any, dict[str, Any]]) -> None:
    late = {task for task in map(_application, connections.values()) if task is not None}
    if late:
        logger.warning("drain_cut_off applications=%s", len(late))
        for task in late:
            task.cancel()
        await asyncio.wait(late, timeout=1)
