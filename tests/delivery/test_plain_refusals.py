"""What the plain WebSocket refuses, and how: an error that names the field, then a code of the table."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from realtime.conf import conf
from realtime.feeds.access import create_token
from tests.delivery.conftest import House, Socket

FOREIGN = (b"origin", b"https://elsewhere.example")


@pytest.mark.parametrize(
    ("path", "error", "field", "code"),
    [
        ("/ws/feeds/nowhere/", "not_found", "feed", 4404),
        ("/ws/feeds/secret/", "not_found", "feed", 4404),
        ("/ws/feeds/%2e%2e/", "not_found", "feed", 4404),
        ("/ws/feeds/open", "not_found", None, 4404),
        ("/ws/feeds/open/more/", "not_found", None, 4404),
        ("/ws/", "not_found", None, 4404),
        ("/", "not_found", None, 4404),
        ("/ws/feeds/open/?since=", "bad_position", "since", 4400),
        ("/ws/feeds/open/?since=7", "bad_position", "since", 4400),
        ("/ws/feeds/open/?since=e:-1", "bad_position", "since", 4400),
        ("/ws/feeds/open/?since=e:99999999999999999999", "bad_position", "since", 4400),
        ("/ws/feeds/open/?since=e:1&since=e:2", "bad_input", "since", 4400),
        ("/ws/feeds/open/?since=%ff", "bad_input", "query", 4400),
        ("/ws/feeds/open/?" + "x=1&" * 400, "bad_input", "query", 4400),
        ("/ws/feeds/open/?delta=", "bad_input", "delta", 4400),
        ("/ws/feeds/open/?delta=fossil", "bad_input", "delta", 4400),
        ("/ws/feeds/open/?delta=rows&delta=rows", "bad_input", "delta", 4400),
        ("/ws/feeds/?feed=open&delta=Rows", "bad_input", "delta", 4400),
        ("/ws/feeds/", "bad_input", "feed", 4400),
        ("/ws/feeds/?feed=open&feed=open", "bad_input", "feed", 4400),
        ("/ws/feeds/?feed=open@", "bad_position", "feed", 4400),
        ("/ws/feeds/?feed=open&since=e:1", "bad_input", "since", 4400),
        ("/ws/feeds/?feed=open&feed=nowhere", "not_found", "feed", 4404),
        ("/ws/feeds/?feed=open&feed=secret", "not_found", "feed", 4404),
        ("/ws/feeds/?" + "&".join(f"feed=f{n}" for n in range(201)), "too_many_feeds", "feed", 4429),
        ("/ws/feeds/open/?token=hw_wrong", "not_signed_in", "token", 4401),
        ("/ws/feeds/open/?token=", "not_signed_in", "token", 4401),
    ],
)
async def test_a_request_is_refused_by_error_and_code(
    house: House, path: str, error: str, field: str | None, code: int
) -> None:
    await house.add_feed("open", 1)
    await house.add_feed("secret", 1, public=False)
    socket = await house.connect(path)
    message, closed = await socket.closing()
    assert (message["code"], message["field"], closed) == (error, field, code)
    assert set(message) == {"type", "code", "message", "field"}
    assert message["message"]


async def test_unknown_and_unreadable_feeds_are_refused_alike(house: House) -> None:
    await house.add_feed("secret", 1, public=False)
    unreadable, _ = await (await house.connect("/ws/feeds/secret/")).closing()
    unknown, _ = await (await house.connect("/ws/feeds/nowhere/")).closing()
    assert unreadable["message"].replace("secret", "nowhere") == unknown["message"]


@pytest.mark.parametrize(
    ("message", "error", "code"),
    [
        ("ping", "bad_message", 4400),
        ("{", "bad_message", 4400),
        ("[]", "bad_message", 4400),
        ("null", "bad_message", 4400),
        ("NaN", "bad_message", 4400),
        ("1e999", "bad_message", 4400),
        ("[" * 60_000, "bad_message", 4400),
        ('{"type": "publish", "data": 1}', "bad_message", 4400),
        ('{"type": {"type": "ping"}}', "bad_message", 4400),
        ('{"type": "websocket.disconnect"}', "bad_message", 4400),
        ('{"type": "feed.announce", "feed": 1}', "bad_message", 4400),
        (b"\x00\xff", "bad_message", 4400),
        ('"' + "x" * conf().message_limit_bytes + '"', "too_large", 4413),
        ('"' + "ü" * (conf().message_limit_bytes // 2) + '"', "too_large", 4413),
        (b"x" * (conf().message_limit_bytes + 1), "too_large", 4413),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_a_bad_message_closes_the_socket(
    house: House, message: str | bytes, error: str, code: int
) -> None:
    await house.add_feed("open", 1)
    socket = await house.connect("/ws/feeds/open/")
    await socket.read_values(1)
    await socket.send(message)
    content, closed = await socket.closing()
    assert (content["code"], content["field"], closed) == (error, "message", code)
    assert house.delivery._hub.watched() == []


@pytest.mark.parametrize("origin", [b"http://testserver", b"https://TESTSERVER"])
async def test_a_page_of_this_site_may_come_in(house: House, origin: bytes) -> None:
    await house.add_feed("open", 1)
    socket = await house.connect("/ws/feeds/open/", (b"origin", origin))
    assert await socket.read_values(1) == [1]


@pytest.mark.parametrize(
    "origin",
    [
        b"https://elsewhere.example",
        b"null",
        b"",
        b"testserver",
        b"http://testserver.elsewhere.example",
        b"http://testserver:8000",
        b"http://elsewhere.example/http://testserver",
        b"file://testserver",
    ],
)
async def test_a_page_of_a_foreign_origin_is_refused_even_with_the_users_cookie(
    house: House, origin: bytes
) -> None:
    await house.add_feed("open", 1)
    await house.add_feed("secret", 1, public=False)
    cookie = await house.feeds.database.write(_cookie)
    for path in ("/ws/feeds/open/", "/ws/feeds/secret/"):
        socket = await house.connect(path, (b"origin", origin), cookie)
        message, code = await socket.closing()
        assert (message["code"], message["field"], code) == ("not_allowed", "origin", 4403)


async def test_a_page_of_a_foreign_origin_may_come_in_with_a_token_of_its_own(house: House) -> None:
    await house.add_feed("secret", 1, public=False)
    _, token = await house.feeds.database.write(create_token, "page", ["read"])
    socket = await house.connect(f"/ws/feeds/secret/?token={token}", FOREIGN)
    assert await socket.read_values(1) == [1]


async def test_an_allowed_origin_may_come_in_with_the_users_cookie(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowing = conf().model_copy(update={"allowed_origins": ("https://elsewhere.example",)})
    monkeypatch.setattr("realtime.delivery.admission.conf", lambda: allowing)
    await house.add_feed("secret", 1, public=False)
    socket = await house.connect("/ws/feeds/secret/", FOREIGN, await house.feeds.database.write(_cookie))
    assert await socket.read_values(1) == [1]


async def test_a_name_that_was_rebound_to_this_address_is_refused(house: House) -> None:
    await house.add_feed("open", 1)
    rebound = Socket("/ws/feeds/open/", [(b"host", b"evil.example"), (b"origin", b"http://evil.example")])
    house.sockets.append(rebound)
    await rebound.open()
    message, code = await rebound.closing()
    assert (message["code"], message["field"], code) == ("bad_input", "host", 4400)


def _cookie() -> tuple[bytes, bytes]:
    client = Client()
    client.force_login(User.objects.create_user("mia"))
    return (b"cookie", f"sessionid={client.session.session_key}".encode())
