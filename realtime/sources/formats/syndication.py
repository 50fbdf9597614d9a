"""RSS and Atom, by feedparser, which gets bytes and never an address: it fetches nothing.

Shape: `{"title", "link", "updated", "entries": [{"id", "title", "link", "summary", "published"}, …]}`, in the
feed's own order; times in ISO 8601 and UTC; what a feed does not say is null. Summaries are sanitised HTML.
"""

from __future__ import annotations

import io
import re
from calendar import timegm
from datetime import UTC, datetime
from typing import Any
from xml.parsers import expat

import feedparser

from realtime.errors import ExtractError
from realtime.feeds.publication import timestamp

from .charset import charset_of, decode, known

ENTRY_LIMIT = 2000
DEPTH_LIMIT = 100  # feedparser takes the square of the depth
REPAIR_LIMIT = 200_000  # what is not well-formed takes feedparser up to 5 s a megabyte

_DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,100}?encoding=["']([A-Za-z0-9._-]{1,40})["']""")
_ROOTS = frozenset({"rss", "feed", "rdf"})
_ENTRIES = frozenset({"item", "entry"})


def read_syndication(body: bytes, content_type: str) -> dict[str, Any]:
    """The feed. Raises ExtractError for what is neither RSS nor Atom, or too deep or long to be read soon."""
    declared = _DECLARED.match(body)
    charset = charset_of(content_type) or (known(declared[1].decode()) if declared else "")
    text = decode(body, default=charset or "utf-8")
    _look_over(text)
    parsed = _parsed(text.encode())
    feed, entries = parsed.get("feed", {}), parsed.get("entries", [])
    if not parsed.get("version") and not entries:
        raise ExtractError("The answer is neither RSS nor Atom.")
    return {
        "title": _text(feed, "title"),
        "link": _text(feed, "link"),
        "updated": _moment(feed, "updated_parsed", "published_parsed"),
        "entries": [
            {
                "id": _text(entry, "id"),
                "title": _text(entry, "title"),
                "link": _text(entry, "link"),
                "summary": _text(entry, "summary"),
                "published": _moment(entry, "published_parsed", "updated_parsed"),
            }
            for entry in entries
        ],
    }


def _look_over(text: str) -> None:
    """Raise for what has no feed's root element, and for what would cost feedparser seconds or gigabytes."""
    if "<!entity" in text.lower():
        # A few kilobytes of entities can expand to gigabytes; feeds do without.
        raise ExtractError("The answer declares XML entities, which are not taken.")
    depth = entries = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, entries
        local = name.rpartition(":")[2].lower()
        if depth == 0 and local not in _ROOTS:
            raise ExtractError("The answer is neither RSS nor Atom.")
        depth += 1
        entries += local in _ENTRIES
        if depth > DEPTH_LIMIT:
            raise ExtractError(f"The answer's elements are nested more than {DEPTH_LIMIT} deep.")
        if entries > ENTRY_LIMIT:
            raise ExtractError(f"The answer has more than {ENTRY_LIMIT:,} entries.")

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        if len(text) > REPAIR_LIMIT:
            raise ExtractError(
                f"The answer is not RSS or Atom: not well-formed at line {error.lineno}."
            ) from None


def _parsed(utf8: bytes) -> Any:
    try:
        return feedparser.parse(
            io.BytesIO(utf8),
            response_headers={"content-type": "application/xml; charset=utf-8"},
            resolve_relative_uris=False,
        )
    except Exception as error:  # its loose parser raises whatever the markup makes it stumble over
        raise ExtractError(f"The answer cannot be read as RSS or Atom ({type(error).__name__}).") from error


def _text(element: Any, name: str) -> str | None:
    value = element.get(name)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _moment(element: Any, *names: str) -> str | None:
    for name in names:
        if name not in element:  # asked for directly, it may be answered with another time and a warning
            continue
        try:
            return timestamp(datetime.fromtimestamp(timegm(element[name]), UTC))
        except (TypeError, ValueError, OverflowError, OSError):
            continue
    return None
