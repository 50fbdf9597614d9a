"""One request to an upstream: what comes back, what is cut off, and what is said about it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import aiohttp
import pytest

from realtime.errors import (
    BadInput,
    BadResponse,
    BadStatus,
    FetchError,
    FetchTimeout,
    ResponseTooLarge,
)
from realtime.sources import fetch
from realtime.sources.fetch import BODY_LIMIT_BYTES, Fetcher, Request
from realtime.sources.guard import AllowedNetworks, GuardedResolver
from tests.upstream import Upstream, closed_port
from tests.upstream_replies import after, answers, head, later, raw, says

LIMIT = 100_000


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(AllowedNetworks.parse(["127.0.0.0/8"]), limit_bytes=LIMIT)
    yield fetcher
    await fetcher.aclose()


async def test_the_answer_comes_whole_with_its_type_and_validators(
    upstream: Upstream, fetcher: Fetcher
) -> None:
    answer = await fetcher.fetch(Request(upstream.url("/fixed/whole")))
    assert (answer.status, answer.body, answer.content_type) == (200, b'{"value": 1}', "application/json")
    assert (answer.etag, answer.last_modified) == ('"whole"', "Fri, 02 Jan 2026 03:04:05 GMT")
    assert not answer.not_modified
    assert 0 < answer.duration_ms < 5000
    assert answer.url == upstream.url("/fixed/whole")


@pytest.mark.parametrize(
    "validators", [{"etag": '"v"'}, {"last_modified": "Fri, 02 Jan 2026 03:04:05 GMT"}], ids=["etag", "date"]
)
async def test_an_unchanged_answer_is_not_sent_again(
    upstream: Upstream, fetcher: Fetcher, validators: dict[str, str]
) -> None:
    answer = await fetcher.fetch(Request(upstream.url("/fixed/v"), **validators))  # type: ignore[arg-type]
    assert answer.not_modified
    assert (answer.status, answer.body) == (304, b"")
    assert (answer.etag, answer.last_modified) == ('"v"', "Fri, 02 Jan 2026 03:04:05 GMT")


async def test_a_304_without_validators_keeps_those_of_the_request(
    upstream: Upstream, fetcher: Fetcher
) -> None:
    url = upstream.on("/bare", raw(head(304, {})))
    answer = await fetcher.fetch(Request(url, etag='"e"', last_modified="Fri"))
    assert (answer.not_modified, answer.etag, answer.last_modified) == (True, '"e"', "Fri")


async def test_a_304_that_nobody_asked_for_is_a_failure(upstream: Upstream, fetcher: Fetcher) -> None:
    with pytest.raises(BadStatus, match="304 Not Modified"):
        await fetcher.fetch(Request(upstream.on("/unasked", raw(head(304, {})))))


@pytest.mark.parametrize("etag", ['"' + "e" * 500 + '"', '"\xe9"'], ids=["long", "latin"])
async def test_a_validator_that_cannot_be_sent_back_is_dropped(
    upstream: Upstream, fetcher: Fetcher, etag: str
) -> None:
    assert (await fetcher.fetch(Request(upstream.on("/etag", says(1, headers={"ETag": etag}))))).etag == ""


async def test_headers_and_body_are_sent_and_compression_is_declined(
    upstream: Upstream, fetcher: Fetcher
) -> None:
    url = upstream.on("/ask", says(1))
    await fetcher.fetch(
        Request(url, method="POST", headers={"X-Key": "k", "User-Agent": "me"}, body='{"é": 1}')
    )
    heard = upstream.heard["/ask"][-1]
    assert (heard.method, heard.body.decode()) == ("POST", '{"é": 1}')
    assert heard.headers["x-key"] == "k"
    assert heard.headers["user-agent"] == "me"
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["accept-encoding"] == "identity"

    await fetcher.fetch(Request(url, headers={"content-type": "text/x"}, body="ignored"))
    heard = upstream.heard["/ask"][-1]
    assert (heard.method, heard.body, heard.headers["user-agent"]) == ("GET", b"", "Headwater")


async def test_cookies_are_not_kept(upstream: Upstream, fetcher: Fetcher) -> None:
    url = upstream.on("/cookie", says(1, headers={"Set-Cookie": "a=b; Path=/"}))
    await fetcher.fetch(Request(url))
    await fetcher.fetch(Request(url))
    assert "cookie" not in upstream.heard["/cookie"][-1].headers


async def test_one_connection_serves_many_polls(upstream: Upstream) -> None:
    with Upstream() as own:
        fetcher = Fetcher(AllowedNetworks.parse([f"127.0.0.1/32:{own.port}"]), limit_bytes=LIMIT)
        for _ in range(5):
            await fetcher.fetch(Request(own.url("/counter/a")))
            with pytest.raises(BadStatus):
                await fetcher.fetch(Request(own.url("/status/500")))
        assert own.connections == 1
        await fetcher.aclose()


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "404 Not Found"), (503, "503 Service Unavailable"), (299 + 300, "599"), (300, "300")],
)
async def test_a_status_that_is_not_a_success_is_told(
    upstream: Upstream, fetcher: Fetcher, status: int, words: str
) -> None:
    with pytest.raises(BadStatus, match=f"Answered {words}") as caught:
        await fetcher.fetch(Request(upstream.url(f"/status/{status}?key=secret")))
    assert caught.value.status == status
    assert caught.value.retry_after_s is None
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("status", [429, 503, 500])
async def test_retry_after_comes_with_the_error(upstream: Upstream, fetcher: Fetcher, status: int) -> None:
    with pytest.raises(BadStatus) as caught:
        await fetcher.fetch(Request(upstream.on("/later", later("120", status=status))))
    assert caught.value.retry_after_s == 120


async def test_exactly_the_limit_passes_and_one_byte_more_does_not(
    upstream: Upstream, fetcher: Fetcher
) -> None:
    assert len((await fetcher.fetch(Request(upstream.url(f"/bytes/{LIMIT}")))).body) == LIMIT
    with pytest.raises(ResponseTooLarge, match="100,000 bytes"):
        await fetcher.fetch(Request(upstream.url(f"/bytes/{LIMIT + 1}")))


async def test_a_declared_length_over_the_limit_is_refused_before_the_body(
    upstream: Upstream, fetcher: Fetcher
) -> None:
    url = upstream.on("/declared", after(0, raw(head(200, {"Content-Length": "99999999999"}))))
    with pytest.raises(ResponseTooLarge):
        await fetcher.fetch(Request(url))


async def test_an_endless_answer_is_cut_off_at_the_limit(upstream: Upstream, fetcher: Fetcher) -> None:
    with pytest.raises(ResponseTooLarge):
        await fetcher.fetch(Request(upstream.url("/endless")))


async def test_a_compressed_answer_is_refused_unopened(upstream: Upstream, fetcher: Fetcher) -> None:
    with pytest.raises(BadResponse, match="compressed"):
        await fetcher.fetch(Request(upstream.url("/bomb")))


@pytest.mark.parametrize("path", ["/drip", "/never", "/slow/30"])
async def test_the_time_limit_holds_for_the_whole_answer(
    upstream: Upstream, fetcher: Fetcher, path: str
) -> None:
    with pytest.raises(FetchTimeout, match=r"No complete answer within 0\.3 s"):
        async with asyncio.timeout(20):  # long before the answer would be complete
            await fetcher.fetch(Request(upstream.url(path), timeout_s=0.3))


async def test_a_redirect_does_not_begin_the_time_limit_anew(upstream: Upstream, fetcher: Fetcher) -> None:
    hop = answers(status=302, headers={"Location": "/hop-2"})
    upstream.on("/hop-2", after(0.3, says(1)))
    with pytest.raises(FetchTimeout):
        await fetcher.fetch(Request(upstream.on("/hop-1", after(0.3, hop)), timeout_s=0.5))


async def test_a_slow_answer_within_the_limit_passes(upstream: Upstream, fetcher: Fetcher) -> None:
    assert (await fetcher.fetch(Request(upstream.url("/slow/0.1")))).status == 200


BROKEN = {
    "half": (None, "broke off"),
    "hangup": (None, "closed before"),
    "garbage": (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "not valid HTTP"),
    "long-header": (raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 50_000 + b"\r\n\r\n"), "not valid HTTP"),
    "bad-length": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}"), "not valid HTTP"),
    "bad-chunk": (
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
        "broke off|not valid HTTP",
    ),
    "half-head": (raw(b"HTTP/1.1 200 OK\r\nContent-"), "closed before|not valid HTTP"),
    "status-line": (raw(b"HTTP/1.1 9999 \r\n\r\n"), "not valid HTTP"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_an_answer_that_breaks_off_or_is_not_http_is_told(
    upstream: Upstream, fetcher: Fetcher, name: str
) -> None:
    reply, words = BROKEN[name]
    url = upstream.on(f"/{name}", reply) if reply else upstream.url(f"/{name}")
    with pytest.raises(BadResponse, match=words):
        await fetcher.fetch(Request(url, timeout_s=30))
    assert (await fetcher.fetch(Request(upstream.url("/counter/after")))).status == 200


class NoNames(aiohttp.abc.AbstractResolver):
    """Knows no name, and says so as the system does, without asking a network that may take its time."""

    async def resolve(self, host: str, *where: Any) -> list[aiohttp.abc.ResolveResult]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def close(self) -> None:
        pass


async def test_a_closed_port_an_unknown_name_and_a_wrong_scheme_are_told(
    upstream: Upstream, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "GuardedResolver", partial(GuardedResolver, inner=NoNames()))
    with pytest.raises(FetchError, match=r"127\.0\.0\.1 port \d+ refused the connection"):
        await fetcher.fetch(Request(f"http://127.0.0.1:{closed_port()}/?key=secret"))
    with pytest.raises(FetchError, match=r"The name nowhere\.invalid could not be resolved") as caught:
        await fetcher.fetch(Request("http://nowhere.invalid/?key=secret"))
    assert caught.value.field == "url"
    with pytest.raises(FetchError, match="does not speak TLS"):
        await fetcher.fetch(Request(upstream.url("/").replace("http:", "https:")))


async def test_a_body_too_large_to_send_names_the_field(upstream: Upstream, fetcher: Fetcher) -> None:
    for body in ("x" * (BODY_LIMIT_BYTES + 1), "\ud800"):
        with pytest.raises(BadInput) as caught:
            await fetcher.fetch(Request(upstream.url("/counter/body"), method="POST", body=body))
        assert caught.value.field == "body"


async def test_an_upstream_that_answers_early_and_reads_no_further_holds_nobody_up(
    upstream: Upstream, fetcher: Fetcher
) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head(413, {"Content-Length": "0"}))
        await stop.wait()
        writer.close()

    stop = asyncio.Event()
    server = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1024)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises((BadStatus, FetchTimeout)):
        await fetcher.fetch(
            Request(f"http://127.0.0.1:{port}/", method="POST", body="x" * BODY_LIMIT_BYTES, timeout_s=1)
        )
    stop.set()
    server.close()


async def test_a_cancelled_fetch_leaves_the_pool_usable(upstream: Upstream, fetcher: Fetcher) -> None:
    for _ in range(50):
        tasks = [asyncio.create_task(fetcher.fetch(Request(upstream.url("/slow/0.05")))) for _ in range(20)]
        await asyncio.wait(tasks, timeout=0.005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert (await fetcher.fetch(Request(upstream.url("/counter/pool"), timeout_s=30))).status == 200


async def test_a_fetcher_that_was_never_used_closes_too() -> None:
    await Fetcher(AllowedNetworks(), limit_bytes=LIMIT).aclose()


async def test_a_peer_that_hangs_up_in_the_tls_handshake_is_told(fetcher: Fetcher) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    with pytest.raises(FetchError, match=r"closed the connection|reset the connection"):
        await fetcher.fetch(Request(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
    server.close()
