"""How tests ask the server API: by `cent`, or as any program could."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import cent
import pytest

from tests.serving import Server


def channel_publish(channel: str, data: Any, **more: Any) -> cent.PublishRequest:
    return cent.PublishRequest(channel=channel, data=data, **more)


async def refused(call: Any) -> tuple[int, str]:
    with pytest.raises(cent.CentApiResponseError) as caught:
        await call
    return caught.value.code, caught.value.message


def raw(
    server: Server, path: str, body: bytes | None = None, *, method: str = "POST", **headers: str
) -> tuple[int, Any]:
    """One request as any program could send it; the status, and the answer's JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{server.url}{path}", data=body, headers=named, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
