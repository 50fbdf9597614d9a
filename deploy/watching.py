"""Clients for the proof: they watch one feed, come back after lost connections, and keep what they got."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import Any

import httpx
import websockets

RETRY_S = 0.2
# A machine that is busy answers late; who gives up sooner would count as one that was refused.
PATIENCE_S = 60


@dataclass
class Watcher:
    """What one client got: (offset, value) in the order of arrival, and how it had to come back.

    longest_silence_s   between two values
    longest_absence_s   from a connection's end to the first message on the next
    close_codes         of WebSockets, in order
    """

    kind: str
    url: str
    got: list[tuple[int, Any]] = field(default_factory=list)
    resets: int = 0
    tries: int = 0
    connections: int = 0
    longest_silence_s: float = 0.0
    longest_absence_s: float = 0.0
    close_codes: list[int | None] = field(default_factory=list)
    _position: str = ""
    _last: float = 0.0
    _away_since: float = 0.0

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self.tries += 1
            with contextlib.suppress(OSError, httpx.HTTPError, websockets.WebSocketException):
                await (self._socket() if self.kind == "WebSocket" else self._stream())
            self._away_since = self._away_since or time.monotonic()
            await asyncio.sleep(RETRY_S)

    async def _socket(self) -> None:
        since = f"?since={self._position}" if self._position else ""
        url = self.url.replace("http", "ws", 1) + f"/ws/feeds/counter/{since}"
        async with websockets.connect(url, open_timeout=PATIENCE_S) as socket:
            self.connections += 1
            try:
                async for text in socket:
                    self._take(json.loads(text))
            finally:
                self.close_codes.append(socket.close_code)

    async def _stream(self) -> None:
        headers = {"Last-Event-ID": self._position} if self._position else {}
        async with (
            httpx.AsyncClient(timeout=PATIENCE_S) as client,
            client.stream("GET", f"{self.url}/feeds/counter/events", headers=headers) as answer,
        ):
            answer.raise_for_status()
            self.connections += 1
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    self._take(json.loads(line.removeprefix("data: ")))

    def _take(self, message: dict[str, Any]) -> None:
        now = time.monotonic()
        if self._away_since and message["type"] != "error":
            self.longest_absence_s = max(self.longest_absence_s, now - self._away_since)
            self._away_since = 0.0
        if "offset" not in message:
            return
        if self._position and message["offset"] > 1:
            self.longest_silence_s = max(self.longest_silence_s, now - self._last)
        self._last = now
        self._position = f"{message['epoch']}:{message['offset']}"
        if message["type"] == "reset":
            self.resets += 1
        if message["offset"] > 0:
            self.got.append((message["offset"], message["data"]))

    @property
    def ready(self) -> bool:
        return bool(self._position)


class Publisher:
    """Publishes 1, 2, 3 … to the feed, each until it is answered. Saying a value twice changes nothing."""

    def __init__(self, url: str, token: str) -> None:
        self.url = f"{url}/api/feeds/counter/publish"
        self.headers = {"Authorization": f"Bearer {token}"}
        self.published = 0
        self.retries = 0
        self.stopping = False

    async def run(self) -> None:
        """Publish twenty values a second until `stopping`."""
        async with httpx.AsyncClient(timeout=PATIENCE_S, headers=self.headers) as client:
            while not self.stopping:
                await self._publish(client, self.published + 1)
                self.published += 1
                await asyncio.sleep(0.05)

    async def _publish(self, client: httpx.AsyncClient, value: int) -> None:
        while True:
            try:
                answer = await client.post(self.url, json={"data": value})
                if answer.status_code < 300:
                    offset = answer.json()["offset"]
                    assert offset == value, f"the value {value} was given the offset {offset}"
                    return
                assert answer.status_code >= 500, answer.text
            except httpx.HTTPError:
                pass
            self.retries += 1
            await asyncio.sleep(RETRY_S)
