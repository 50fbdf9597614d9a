"""Redirects: followed a few times, checked at each hop, and never with secrets to somebody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from realtime.errors import AddressRefused, BadResponse, TooManyRedirects
from realtime.sources.fetch import MAX_REDIRECTS, Fetcher, Request
from realtime.sources.guard import AllowedNetworks
from tests.upstream import Upstream
from tests.upstream_replies import answers, redirects, says

SECRETS = {"Authorization": "Bearer s3cret", "X-Key": "s3cret", "Content-Type": "text/x"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
async def fetcher(upstream: Upstream, elsewhere: Upstream) -> AsyncIterator[Fetcher]:
    ports = [f"127.0.0.0/8:{one.port}" for one in (upstream, elsewhere)]
    fetcher = Fetcher(AllowedNetworks.parse(ports), limit_bytes=100_000)
    yield fetcher
    await fetcher.aclose()


async def test_as_many_redirects_as_allowed_are_followed_and_no_more(
    upstream: Upstream, fetcher: Fetcher
) -> None:
    answer = await fetcher.fetch(Request(upstream.url(f"/hops/{MAX_REDIRECTS}")))
    assert answer.url == upstream.url("/fixed/hops")
    with pytest.raises(TooManyRedirects, match="More than 5"):
        await fetcher.fetch(Request(upstream.url(f"/hops/{MAX_REDIRECTS + 1}")))


async def test_a_circle_is_noticed_at_once(upstream: Upstream, fetcher: Fetcher) -> None:
    with pytest.raises(TooManyRedirects, match="circle"):
        await fetcher.fetch(Request(upstream.url("/loop")))
    assert upstream.requests["/loop"] == 1


async def test_a_relative_location_is_joined(upstream: Upstream, fetcher: Fetcher) -> None:
    upstream.on("/a/b", redirects("../fixed/x?y=1#z"))
    assert (await fetcher.fetch(Request(upstream.url("/a/b")))).status == 200
    assert upstream.heard["/fixed/x"][-1].query == "y=1"


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [
        (301, "GET", b""),
        (302, "GET", b""),
        (303, "GET", b""),
        (307, "POST", b"asked"),
        (308, "POST", b"asked"),
    ],
)
async def test_a_post_becomes_a_get_or_stays_as_the_status_says(
    upstream: Upstream, fetcher: Fetcher, status: int, method: str, body: bytes
) -> None:
    url = upstream.on("/moved", redirects("/landed", status=status))
    upstream.on("/landed", says(1))
    await fetcher.fetch(Request(url, method="POST", body="asked", headers=SECRETS))
    heard = upstream.heard["/landed"][-1]
    assert (heard.method, heard.body) == (method, body)
    assert heard.headers.get("content-type") == ("text/x" if body else None)
    assert heard.headers["x-key"] == "s3cret"


@pytest.mark.parametrize("status", [302, 307])
async def test_another_origin_gets_none_of_the_headers_not_even_after_coming_back(
    upstream: Upstream, elsewhere: Upstream, fetcher: Fetcher, status: int
) -> None:
    url = upstream.on("/out", redirects(elsewhere.url("/back"), status=status))
    elsewhere.on("/back", redirects(upstream.url("/home"), status=status))
    upstream.on("/home", says(1))
    await fetcher.fetch(Request(url, method="POST", body="asked", headers=SECRETS))
    for heard in (elsewhere.heard["/back"][-1], upstream.heard["/home"][-1]):
        assert "s3cret" not in str(heard.headers)
        assert "authorization" not in heard.headers
    assert "s3cret" in str(upstream.heard["/out"][-1].headers)


async def test_from_https_to_http_on_one_port_is_another_origin() -> None:
    asked: list[httpx.Request] = []

    def network(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if request.url.scheme == "https":
            return httpx.Response(302, headers={"Location": "http://example.com:8443/plain"})
        return httpx.Response(200, json=1)

    fetcher = Fetcher(AllowedNetworks(), limit_bytes=1000, transport=httpx.MockTransport(network))
    await fetcher.fetch(Request("https://example.com:8443/", headers=SECRETS))
    assert "x-key" in asked[0].headers
    assert "x-key" not in asked[1].headers
    await fetcher.aclose()


@pytest.mark.parametrize(
    "location",
    [
        *(
            "http://10.0.0.1/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[::1]/",
            "http://localhost/",
        ),
        *("//127.0.0.1:1/", "http://2130706433/", "http://0x7f.1/", "http://127.0.0.1.:1/"),
        *("file:///etc/passwd", "ftp://example.com/", "http://user:pass@example.com/"),
    ],
)
async def test_a_redirect_to_where_no_request_may_go_is_refused(
    upstream: Upstream, fetcher: Fetcher, location: str
) -> None:
    with pytest.raises(AddressRefused, match="Redirected") as caught:
        await fetcher.fetch(Request(upstream.on("/trap", redirects(location))))
    assert caught.value.field == "url"
    assert "pass@" not in caught.value.message


@pytest.mark.parametrize("location", ["", "http://x:y:z/", "http://\x7f/", "javascript:alert(1)"])
async def test_a_redirect_that_leads_nowhere_is_told(
    upstream: Upstream, fetcher: Fetcher, location: str
) -> None:
    with pytest.raises(BadResponse, match=r"not a URL|without a Location"):
        await fetcher.fetch(Request(upstream.on("/nowhere", redirects(location))))


async def test_validators_outlive_permanent_redirects_only(upstream: Upstream, fetcher: Fetcher) -> None:
    for status, kept in ((301, '"there"'), (308, '"there"'), (302, ""), (307, "")):
        upstream.on("/here", redirects("/fixed/there", status=status))
        answer = await fetcher.fetch(Request(upstream.url("/here")))
        assert answer.etag == kept
    upstream.on("/here", redirects("/fixed/there", status=301))
    assert (await fetcher.fetch(Request(upstream.url("/here"), etag='"there"'))).not_modified


async def test_the_body_of_a_redirect_is_not_read(upstream: Upstream, fetcher: Fetcher) -> None:
    upstream.on("/heavy", answers(b"x" * 200_000, status=302, headers={"Location": "/fixed/light"}))
    assert (await fetcher.fetch(Request(upstream.url("/heavy")))).status == 200
