"""What is said about a request that failed, and how long it asks to wait."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import aiohttp
import httpx
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import BadResponse, FetchError, FetchTimeout
from realtime.sources.fetch import Fetcher, Request
from realtime.sources.fetch_errors import explain, retry_after_s
from realtime.sources.guard import AllowedNetworks
from tests.upstream import Upstream

LOOPBACK = AllowedNetworks.parse(["127.0.0.0/8"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_upstream(issuer: trustme.CA, *names: str) -> Upstream:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert(*names).configure_cert(context)
    return Upstream(tls=context)


@pytest.fixture
def trusting(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose store of certificates holds the authority's."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return


@pytest.mark.usefixtures("trusting")
async def test_a_trusted_certificate_for_the_host_is_accepted(authority: trustme.CA) -> None:
    with tls_upstream(authority, "127.0.0.1") as upstream:
        fetcher = Fetcher(LOOPBACK, limit_bytes=1000)
        assert (await fetcher.fetch(Request(upstream.url("/counter/tls")))).body == b'{"value": 1}'
        await fetcher.aclose()


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    ("issuer", "name", "words"),
    [(None, "127.0.0.1", "unable to get"), ("same", "other.example", "mismatch|not valid")],
)
async def test_an_untrusted_certificate_or_one_for_another_name_is_refused(
    authority: trustme.CA, issuer: str | None, name: str, words: str
) -> None:
    with tls_upstream(authority if issuer else trustme.CA(), name) as upstream:
        fetcher = Fetcher(LOOPBACK, limit_bytes=1000)
        with pytest.raises(FetchError, match=r"The TLS certificate of 127\.0\.0\.1 is not trusted") as caught:
            await fetcher.fetch(Request(upstream.url("/counter/tls")))
        assert upstream.requests.total() == 0
        await fetcher.aclose()
    assert [word for word in words.split("|") if word in caught.value.message]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("120", 120.0), ("0", 0.0), (" 7 ", 7.0), ("86401", 86_400.0), ("9" * 400, 86_400.0)),
        *(("", None), ("soon", None), ("-5", None), ("1.5", None), ("١٢", None), ("Fri, 99 Foo 2026", None)),
        *(("Fri, 02 Jan 1970 03:04:05 GMT", 0.0), ("Fri, 02 Jan 9999 03:04:05 GMT", 86_400.0)),
        ("Fri, 02 Jan 99999 03:04:05 GMT", None),
    ],
)
def test_retry_after_is_read_and_clamped_to_a_day(text: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": text}) == seconds


@pytest.mark.parametrize("zone", ["GMT", "-0000"])
def test_retry_after_may_be_a_date(zone: str) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=60)).replace("+0000", zone)
    waits = retry_after_s({"retry-after": moment})
    assert waits is not None
    assert 55 < waits <= 60


def test_no_retry_after_asks_for_nothing() -> None:
    assert retry_after_s({}) is None


@given(st.text())
def test_any_retry_after_is_a_number_of_seconds_or_nothing(text: str) -> None:
    assert 0.0 <= (retry_after_s({"retry-after": text}) or 0.0) <= 86_400.0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (aiohttp.ServerDisconnectedError(), BadResponse),
        (aiohttp.ClientOSError(104, "reset"), BadResponse),
        (aiohttp.ClientPayloadError("short"), BadResponse),
        (ConnectionResetError(), BadResponse),
        (aiohttp.InvalidURL("http://x/?key=s3cret"), FetchError),
        (aiohttp.ServerTimeoutError(), FetchTimeout),
        (httpx.ReadTimeout("http://x/?key=s3cret"), FetchTimeout),
        (httpx.UnsupportedProtocol("http://x/?key=s3cret"), FetchError),
        (ValueError("s3cret"), FetchError),
    ],
)
def test_every_exception_of_the_libraries_is_explained_without_its_own_text(
    error: Exception, kind: type[FetchError]
) -> None:
    explained = explain(error)
    assert type(explained) is kind
    assert "s3cret" not in explained.message
    assert explained.message.endswith(".")
