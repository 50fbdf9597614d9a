"""HTTP requests to the application without a server, whose answers may go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from asgiref.testing import ApplicationCommunicator

from project.asgi import application
from tests.delivery.conftest import HOST


class Request:
    """One request, and what comes of it."""

    def __init__(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        *,
        query: Mapping[str, str | bytes] | None = None,
        **headers: str,
    ) -> None:
        named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": urlencode(query or {}).encode(),
            "headers": [HOST, *named],
        }
        self._inner = ApplicationCommunicator(application, scope)
        self._sent = body.encode() if isinstance(body, str) else body or b""
        self.received = b""
        self.ended = False
        self.status = 0
        self.headers: dict[str, str] = {}

    async def open(self) -> Request:
        """Send it; return when its headers have come."""
        await self._inner.send_input({"type": "http.request", "body": self._sent, "more_body": False})
        start = await self._inner.receive_output(timeout=30)
        self.status = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return self

    async def more(self) -> None:
        """Wait for the next part of the answer. Raises EOFError when there is none."""
        if self.ended:
            raise EOFError(self.received)
        part = await self._inner.receive_output(timeout=30)
        self.received += part["body"]
        self.ended = not part.get("more_body", False)

    async def until(self, mark: bytes) -> bytes:
        """What came before `mark`, which is taken away too."""
        while mark not in self.received:
            await self.more()
        found, _, self.received = self.received.partition(mark)
        return found

    async def line(self) -> dict[str, Any]:
        """The next line's object."""
        content: dict[str, Any] = json.loads(await self.until(b"\n"))
        return content

    async def event(self) -> dict[str, Any]:
        """The next event's object; it has nothing but data."""
        block = await self.until(b"\n\n")
        assert block.startswith(b"data: ")
        assert b"\n" not in block
        content: dict[str, Any] = json.loads(block[6:])
        return content

    async def rest(self) -> bytes:
        """All that comes until the end."""
        while not self.ended:
            await self.more()
        return self.received

    async def hang_up(self) -> None:
        """The client goes, or the server wants it to; return when the application has ended."""
        await self._inner.send_input({"type": "http.disconnect"})
        await self._inner.wait(timeout=30)

    async def error(self) -> tuple[int, str, str | None]:
        """The status, code and field of a refusal."""
        refused = json.loads(await self.rest())["error"]
        return self.status, refused["code"], refused.get("field")


def commands(*given: Mapping[str, Any]) -> str:
    """As clients send them: one object a line."""
    return "\n".join(json.dumps(each) for each in given)
