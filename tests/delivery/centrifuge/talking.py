"""A client without an SDK: what is said and answered, word by word."""

from __future__ import annotations

import json
from typing import Any

from realtime.conf import Rules
from tests.delivery.conftest import House, Socket

OPEN = Rules(subscribe="anybody", publish="subscribers", history=True, recovery="forced")


class Client:
    """Speaks the JSON form; every frame of the server is a list of objects."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self._number = 0
        self._told: list[dict[str, Any]] = []

    async def tell(self, *commands: dict[str, Any] | str) -> None:
        """One frame."""
        lines = [each if isinstance(each, str) else json.dumps(each) for each in commands]
        await self.socket.send("\n".join(lines))

    async def read(self) -> dict[str, Any]:
        """The next reply or push."""
        while not self._told:
            self._told = [json.loads(line) for line in (await self.socket.read_text()).split("\n")]
        return self._told.pop(0)

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The reply to a command, which must be the next thing that the server says."""
        self._number += 1
        await self.tell({"id": self._number, method: params})
        reply = await self.read()
        assert reply["id"] == self._number
        return reply

    async def publish(self, channel: str, data: Any) -> None:
        """Publish, and read the publication: it may come before the reply or after it."""
        self._number += 1
        await self.tell({"id": self._number, "publish": {"channel": channel, "data": data}})
        told = [await self.read(), await self.read()]
        assert {"id": self._number, "publish": {}} in told

    async def closed(self) -> tuple[dict[str, Any], int]:
        """The last push, which tells why, and the close code."""
        told = await self.read()
        return told["push"]["disconnect"], await self.socket.closed()


async def client(house: House) -> Client:
    return Client(await house.connect("/connection/websocket"))


async def connected(house: House) -> Client:
    made = await client(house)
    reply = await made.ask("connect")
    assert reply["connect"]["client"]
    return made
