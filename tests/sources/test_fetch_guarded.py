"""The fetcher goes where the guard lets it, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from realtime.errors import AddressRefused
from realtime.sources.fetch import Fetcher, Request
from realtime.sources.guard import AllowedNetworks
from tests.upstream import Upstream

LIMIT = 100_000


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


async def test_what_the_guard_refuses_is_not_connected_to(upstream: Upstream) -> None:
    fetcher = Fetcher(AllowedNetworks(), limit_bytes=LIMIT)
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
        with pytest.raises(AddressRefused):
            await fetcher.fetch(Request(f"http://{host}:{upstream.port}/refused"))
    assert upstream.requests["/refused"] == 0
    await fetcher.aclose()


class Lenient(AllowedNetworks):
    """Lets every URL through, as if a parser had been fooled; the other two looks remain."""

    def check_url(self, url: str) -> httpx.URL:
        return httpx.URL(url)


async def test_a_url_check_that_was_fooled_is_backed_by_the_resolver_and_the_socket(
    upstream: Upstream,
) -> None:
    fetcher = Fetcher(Lenient(), limit_bytes=LIMIT)
    with pytest.raises(AddressRefused, match="The name localhost leads to"):
        await fetcher.fetch(Request(f"http://localhost:{upstream.port}/fooled"))
    for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "0x7f.1"):
        with pytest.raises(AddressRefused):
            await fetcher.fetch(Request(f"http://{host}:{upstream.port}/fooled"))
    assert upstream.requests["/fooled"] == 0
    await fetcher.aclose()
