"""What is made of a request before anything else sees it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from realtime.conf import conf
from realtime.web import intake
from realtime.web.intake import Intake

Message = MutableMapping[str, Any]
Headers = list[tuple[bytes, bytes]]


class Application:
    """Reads all of the body and answers with its size."""

    def __init__(self) -> None:
        self.scope: MutableMapping[str, Any] = {}

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        self.scope = scope
        if scope["type"] != "http":
            return
        size = 0
        while True:
            message = await receive()
            size += len(message["body"])
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(size).encode()})


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = conf().model_copy(
        update={"body_limit_bytes": 2000, "trusted_proxies": ("10.0.0.0/8", "fd00::/8")}
    )
    monkeypatch.setattr(intake, "conf", lambda: settings)


async def ask(
    *bodies: bytes, headers: Headers | None = None, client: str = "192.0.2.1", kind: str = "http"
) -> tuple[Application, int, bytes]:
    inner = Application()
    chunks = list(bodies)
    sent: list[Message] = []

    async def receive() -> Message:
        body = chunks.pop(0) if chunks else b""
        return {"type": "http.request", "body": body, "more_body": bool(chunks)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": kind,
        "path": "/",
        "root_path": "/evil",
        "scheme": "http" if kind == "http" else "ws",
        "headers": headers or [],
        "client": [client, 1234],
    }
    await Intake(inner)(scope, receive, send)
    return inner, sent[0]["status"] if sent else 0, b"".join(part.get("body", b"") for part in sent)


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", b"2001")],
        [(b"content-length", b"9" * 4000)],
        [(b"content-length", b"5")],
        [],
        [(b"transfer-encoding", b"chunked")],
    ],
)
async def test_a_body_over_the_limit_is_refused_whatever_its_headers_say(headers: Headers) -> None:
    _, status, body = await ask(*[b"x" * 100] * 21, headers=headers)
    assert status == 413
    assert json.loads(body)["error"]["code"] == "too_large"


@pytest.mark.usefixtures("limited")
async def test_a_body_at_the_limit_passes() -> None:
    _, status, body = await ask(*[b"x" * 100] * 20, headers=[(b"content-length", b"2000")])
    assert (status, body) == (200, b"2000")


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_a_clients_own_claims_are_dropped(kind: str) -> None:
    inner, _, _ = await ask(
        headers=[
            (b"x-forwarded-for", b"203.0.113.9"),
            (b"x-forwarded-proto", b"https"),
            (b"x-forwarded-host", b"evil.example"),
            (b"forwarded", b"for=203.0.113.9"),
            (b"accept", b"*/*"),
        ],
        kind=kind,
    )
    assert inner.scope["root_path"] == ""
    assert inner.scope["client"] == ["192.0.2.1", 1234]
    assert inner.scope["scheme"] in ("http", "ws")
    assert inner.scope["headers"] == [(b"accept", b"*/*")]


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (b"203.0.113.9", "203.0.113.9"),
        (b"1.2.3.4, 203.0.113.9", "203.0.113.9"),
        (b"203.0.113.9, 10.1.1.1", "203.0.113.9"),
        (b"2001:db8::9, fd00::1", "2001:db8::9"),
        (b"nonsense", "10.0.0.1"),
        (b"nonsense, 10.0.0.7", "10.0.0.7"),
        (b"", "10.0.0.1"),
    ],
)
async def test_a_trusted_proxy_is_believed_up_to_the_first_address_that_is_none(
    forwarded: bytes, client: str
) -> None:
    inner, _, _ = await ask(
        headers=[(b"x-forwarded-for", forwarded), (b"x-forwarded-proto", b"https")], client="10.0.0.1"
    )
    assert inner.scope["client"][0] == client
    assert inner.scope["scheme"] == "https"


async def test_a_proxy_network_that_cannot_be_read_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = conf().model_copy(update={"trusted_proxies": ("10.0.0.0/99",)})
    monkeypatch.setattr(intake, "conf", lambda: settings)
    with pytest.raises(ImproperlyConfigured, match="HEADWATER_TRUSTED_PROXIES"):
        Intake(Application())
