"""Bytes of an answer to a plain value, format by format; whatever the bytes are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import BadInput, ExtractError
from realtime.feeds.publication import encode_data
from realtime.sources.extract import parse, pick
from tests import upstream, upstream_data

RSS = """<?xml version="1.0"?><rss version="2.0"><channel><title>News &amp; more</title>
<link>https://news.example/</link><lastBuildDate>Fri, 02 Jan 2026 03:04:05 GMT</lastBuildDate>
<item><guid>n1</guid><title>Ünë</title><link>https://news.example/1</link>
<description>&lt;b&gt;bold&lt;/b&gt;&lt;script&gt;alert(1)&lt;/script&gt;</description>
<pubDate>Fri, 02 Jan 2026 05:04:05 +0200</pubDate></item>
<item><title>No date</title><pubDate>some day</pubDate></item></channel></rss>"""

# JSON


@pytest.mark.parametrize(
    "text", ['{"a": [1, 2.5, "x", null, true]}', "0", '"é"', "[]", " \n{}\n", "1e308", "-0.0"]
)
def test_json_is_read(text: str) -> None:
    assert parse(text.encode(), "json") == json.loads(text)
    assert parse(b"\xef\xbb\xbf" + text.encode(), "json") == json.loads(text)
    assert parse(text.encode("utf-16"), "json") == json.loads(text)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"<html>", "web page"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"1e309", "too large"),
        (b"9" * 5000, "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\uDFFF": 1}', "surrogate"),
        (b"{} {}", "not valid JSON"),
        (b"{'a': 1}", "not valid JSON"),
        (b'{"a": 1,}', "not valid JSON"),
    ],
)
def test_what_is_not_json_is_told(body: bytes, words: str) -> None:
    with pytest.raises(ExtractError, match=words):
        parse(body, "json")


def test_a_whole_surrogate_pair_in_escapes_is_one_character() -> None:
    assert parse(b'"\\ud83d\\ude00"', "json") == "\U0001f600"


# CSV


def test_csv_rows_are_objects_of_strings() -> None:
    rows = parse(upstream_data.csv_at("seattle_weather", 3), "csv", "text/csv")
    assert [row["weather"] for row in rows] == ["drizzle", "rain", "rain", "rain"]
    assert pick(rows, "[-1].to_number(temp_max)") == 12.2
    assert len(rows[0]) == 6


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a;b\n1,5;2\n", [{"a": "1,5", "b": "2"}]),
        ("a\tb\n1\t2\n", [{"a": "1", "b": "2"}]),
        ('a,b\r\n"1,\r\n""x""",2\r\n', [{"a": '1,\r\n"x"', "b": "2"}]),
        ("\n a , b \n\n1\n\n1,2,,\n", [{"a": "1", "b": ""}, {"a": "1", "b": "2"}]),
        ("a,,c\n1,2,3\n", [{"a": "1", "column_2": "2", "c": "3"}]),
        ("a,b\n", []),
    ],
)
def test_csv_of_other_makes_is_read_too(text: str, rows: list[dict[str, str]]) -> None:
    assert parse(text.encode(), "csv") == rows


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no header"),
        (b"\n\n , \n", "no header"),
        (b"a,a\n1,2", "two columns 'a'"),
        (b"a,b\n1,2\n1,2,3", "Line 3 has more cells"),
        (b"a\n" + b'"' + b"x" * 200_000, "Line 2 is not CSV"),
        (b"a," * 1001, "1,000 columns"),
        (b",".join(b"c%d" % n for n in range(900)) + b"\n1" * 600, "500,000 cells"),
        (b"a\n\xff", "not UTF-8"),
    ],
)
def test_what_is_not_csv_is_told(body: bytes, words: str) -> None:
    with pytest.raises(ExtractError, match=words):
        parse(body, "csv")


# RSS and Atom


def test_rss_has_one_shape_with_times_in_utc_and_sanitised_summaries() -> None:
    feed = parse(RSS.encode(), "feed", "application/rss+xml")
    assert (feed["title"], feed["link"]) == ("News & more", "https://news.example/")
    assert feed["updated"] == "2026-01-02T03:04:05.000Z"
    first, second = feed["entries"]
    assert first == {
        "id": "n1",
        "title": "Ünë",
        "link": "https://news.example/1",
        "summary": "<b>bold</b>",
        "published": "2026-01-02T03:04:05.000Z",
    }
    assert second["id"] is None
    assert second["published"] is None


def test_atom_has_the_same_shape() -> None:
    feed = parse(upstream.FEED.encode(), "feed", "application/atom+xml")
    assert pick(feed, "entries[0].title") == "Build 1 passed"
    assert pick(feed, "entries[0].published") == "2026-01-02T03:04:05.000Z"


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "utf-16", "windows-1252"])
def test_a_feed_is_read_in_the_charset_that_it_declares(charset: str) -> None:
    text = RSS.replace('<?xml version="1.0"?>', f'<?xml version="1.0" encoding="{charset}"?>')
    assert parse(text.encode(charset), "feed")["entries"][0]["title"] == "Ünë"
    by_header = RSS.encode(charset)
    assert parse(by_header, "feed", f"text/xml; charset={charset}")["entries"][0]["title"] == "Ünë"


ENTITIES = '<!DOCTYPE rss [<!ENTITY a "' + "a" * 5000 + '">]><rss version="2.0"><channel><title>'


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "neither"),
        (b"{}", "neither"),
        (b"http://127.0.0.1:1/feed", "neither"),
        (b"/etc/passwd", "neither"),
        (b"<!doctype html><html><title>x</title></html>", "neither"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "neither"),
        (ENTITIES.encode() + b"&a;" * 10_000 + b"</title></channel></rss>", "entities"),
        (ENTITIES.encode("utf-16"), "entities"),
        (b"<rss><channel>" + b"<a>" * 200_000, "nested"),
        (b"<rss version='2.0'><channel>" + b"<item/>" * 2001, "2,000 entries"),
        (b"<rss version='2.0'><channel>" + b"& " * 200_000, "not well-formed at line 1"),
        (b"<rss>\xff", "not UTF-8"),
    ],
)
def test_what_is_not_a_feed_or_would_take_for_ever_is_told(body: bytes, words: str) -> None:
    with pytest.raises(ExtractError, match=words):
        parse(body, "feed")


def test_a_feed_that_is_slightly_broken_is_read_all_the_same() -> None:
    feed = parse(b"<rss version='2.0'><channel><title>A & B</title><item><title>x</item></channel>", "feed")
    assert feed["title"] == "A & B"


# Prometheus


def test_prometheus_samples_have_one_shape() -> None:
    found = parse(upstream.METRICS.encode(), "prometheus", "text/plain; version=0.0.4")
    assert found == {
        "jobs_total": [
            {"labels": {"queue": "mail"}, "value": 3},
            {"labels": {"queue": "files"}, "value": 4},
        ],
        "load": [{"labels": {}, "value": 0.25}],
    }
    assert pick(found, "jobs_total[?labels.queue=='files'] | [0].value") == 4
    assert pick(found, "sum(jobs_total[].value)") == 7
    assert pick(found, "load[0].value") == 0.25


def test_histograms_time_stamps_and_numbers_that_json_lacks_are_taken() -> None:
    found = parse(
        b'# TYPE h histogram\nh_bucket{le="+Inf"} 2 1700000000000\nh_sum NaN\nh_count +Inf\nb 1e999\n',
        "prometheus",
    )
    assert found["h_bucket"] == [{"labels": {"le": "+Inf"}, "value": 2}]
    assert found["h_sum"][0]["value"] is found["h_count"][0]["value"] is found["b"][0]["value"] is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no Prometheus samples"),
        (b"# HELP x y\n", "no Prometheus samples"),
        (b"a 1\n<html>\n", "Line 2 is not Prometheus text"),
        (b'a{x="1} 1', "Line 1"),
        (b"a one", "Line 1"),
        (b"a" * 9000, "Line 1 has more than 8,192"),
        (b"a 1\n" * 50_001, "50,000 samples"),
        (b"\xff 1", "not UTF-8"),
    ],
)
def test_what_is_not_prometheus_text_is_told(body: bytes, words: str) -> None:
    with pytest.raises(ExtractError, match=words):
        parse(body, "prometheus")


# Plain text, and all of them


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("21.5 °C\n".encode(), "", "21.5 °C"),
        ("21.5 °C\n".encode("latin-1"), "text/plain; charset=ISO-8859-1", "21.5 °C"),
        ("é".encode("utf-16"), "text/plain", "é"),
        (b"\xef\xbb\xbfx", "text/plain; charset=latin-1", "x"),
        ("é".encode(), "text/plain; charset=nonsense", "é"),
        (b"+AGE-", "text/plain; charset=utf-7", "+AGE-"),
        (b"a\\n", "text/plain; charset=unicode_escape", "a\\n"),
        (b"", "text/plain", ""),
    ],
)
def test_text_is_decoded_as_the_type_says_and_stripped(body: bytes, content_type: str, text: str) -> None:
    assert parse(body, "text", content_type) == text


def test_an_unknown_format_is_told() -> None:
    with pytest.raises(ExtractError, match="no format 'xml'"):
        parse(b"", "xml")


FORMATS = ["json", "csv", "feed", "prometheus", "text"]
SEEDS = [
    *(RSS.encode(), upstream.FEED.encode(), upstream.METRICS.encode(), b'{"a": [1, {"b": "\\ud800"}]}'),
    *(b"a,b\n1,2\n", b"<?xml", b"<![CDATA[", b"&#xD800;", b'{x="\\', b"\xff\xfe", b"<item><pubDate>"),
]


def holds(format_name: str, body: bytes, content_type: str = "") -> None:
    """Either a value that can be published, or an ExtractError."""
    try:
        value: Any = parse(body, format_name, content_type)
    except ExtractError:
        return
    try:
        encode_data(value, limit_bytes=10_000_000)
    except BadInput as error:
        if "nested" not in error.message:
            raise


@given(st.sampled_from(FORMATS), st.binary(max_size=300), st.text(max_size=40))
def test_any_bytes_of_any_type_are_a_value_or_an_extract_error(
    format_name: str, body: bytes, content_type: str
) -> None:
    holds(format_name, body, f"text/plain; charset={content_type}")


@given(
    st.sampled_from(FORMATS),
    st.lists(
        st.tuples(st.sampled_from(SEEDS), st.integers(0, 400), st.integers(0, 400), st.binary(max_size=4)),
        max_size=5,
    ),
)
def test_cut_and_mixed_documents_are_a_value_or_an_extract_error(format_name: str, parts: list[Any]) -> None:
    holds(format_name, b"".join(seed[start : start + length] + junk for seed, start, length, junk in parts))
