"""Which headers a source may send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import BadInput
from realtime.sources.fetch import Fetcher, Request
from realtime.sources.guard import AllowedNetworks
from realtime.sources.request_headers import check_headers

GOOD = {"Authorization": "Bearer abc==", "X-Api-Key": "k\tv", "Accept": "application/json", "Cookie": "a=b"}


def test_ordinary_headers_pass() -> None:
    check_headers(GOOD)
    check_headers({})


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "X Key", "X:Key", "X-Ключ", "X\r\nY", "X\x00", "a" * 101),
        *(
            "Host",
            "content-length",
            "Transfer-Encoding",
            "Connection",
            "TE",
            "Upgrade",
            "Proxy-Authorization",
        ),
        *("Accept-Encoding", "If-None-Match", "If-Modified-Since", "Range", "Expect"),
    ],
)
def test_a_name_that_is_no_name_or_not_the_sources_to_set_is_refused(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_headers({name: "s3cret"})
    assert caught.value.field == "headers"
    assert "s3cret" not in caught.value.message


@pytest.mark.parametrize(
    "value", ["s3cret\r\nX: y", "s3cret\n", "s3cret\x00", "s3crét", "s3cret\x7f", "s3cret" * 1000]
)
def test_a_value_that_cannot_be_sent_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(BadInput, match="X-Key") as caught:
        check_headers({"X-Key": value}, field="secret_headers")
    assert caught.value.field == "secret_headers"
    assert "s3cr" not in caught.value.message


def test_a_name_given_twice_and_too_many_names_are_refused() -> None:
    with pytest.raises(BadInput, match="twice"):
        check_headers({"X-Key": "1", "x-key": "2"})
    with pytest.raises(BadInput, match="more than 50"):
        check_headers({f"X-{number}": "1" for number in range(51)})


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3))
def test_what_passes_can_be_written_as_a_header_line(headers: dict[str, str]) -> None:
    try:
        check_headers(headers)
    except BadInput:
        return
    for name, value in headers.items():
        line = f"{name}: {value}".encode("ascii")
        assert not set(line) & set(b"\r\n\x00")


async def test_a_fetch_with_bad_headers_sends_nothing() -> None:
    fetcher = Fetcher(AllowedNetworks(), limit_bytes=1000)
    with pytest.raises(BadInput):
        await fetcher.fetch(Request("http://nowhere.invalid/", headers={"X": "a\nb"}))
    await fetcher.aclose()
