"""A source as somebody wrote it down, and all that can be wrong with it before the database is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from realtime.conf import conf
from realtime.errors import BadInput, FetchError
from realtime.feeds.checks import TITLE_LIMIT, check_slug, check_text

from .extract import compile_expression
from .guard import DEFAULT_PORTS, URL_LIMIT, AllowedNetworks
from .models import Source
from .request_headers import check_headers

INTERVAL_S = (1.0, 86_400.0)
TIMEOUT_S = (0.1, 300.0)
BODY_LIMIT = 100_000
EXPRESSION_LIMIT = 1000
FEEDS_LIMIT = 100

# `/sources/new/` is the form and `/api/sources/try` tries a draft.
RESERVED_SLUGS = frozenset({"new", "try"})


@dataclass(frozen=True, slots=True)
class FeedDraft:
    """A feed that a source fills. An empty expression takes the whole answer; an empty title is the slug."""

    slug: str
    title: str = ""
    expression: str = ""
    public: bool = False


@dataclass(frozen=True, slots=True)
class SourceDraft:
    """A source as somebody wants it. A secret header's value of None keeps the one that is stored."""

    slug: str
    url: str
    title: str = ""
    method: str = "GET"
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    secret_headers: Mapping[str, str | None] = field(default_factory=dict)
    interval_s: float = 60.0
    timeout_s: float = 10.0
    format: str = "json"
    enabled: bool = True
    feeds: tuple[FeedDraft, ...] = ()


def problems_of(draft: SourceDraft) -> dict[str, str]:
    """Every wrong field of the draft with what would be right, in the draft's order; {} when all is well.

    Fields of feeds are named `feeds.<index>.<field>`, counted from 0.
    """
    problems: dict[str, str] = {}
    check_slug(draft.slug, problems, reserved=RESERVED_SLUGS)
    problems |= request_problems(draft)
    check_text(draft.title, problems, field="title", limit=TITLE_LIMIT)
    _check_number(draft.interval_s, INTERVAL_S, problems, field="interval_s")
    _check_feeds(draft, problems)
    return problems


def request_problems(draft: SourceDraft) -> dict[str, str]:
    """Like `problems_of`, of those fields alone that make the request and read its answer."""
    problems: dict[str, str] = {}
    _check_url(draft.url, problems)
    if draft.method not in Source.Method.values:
        problems["method"] = f"Choose one of {', '.join(Source.Method.values)}."
    if draft.body and draft.method == Source.Method.GET:
        problems["body"] = "Only POST sends a body. Choose POST or leave this empty."
    else:
        check_text(draft.body, problems, field="body", limit=BODY_LIMIT)
    _check_headers(draft, problems)
    _check_number(draft.timeout_s, TIMEOUT_S, problems, field="timeout_s")
    if draft.format not in Source.Format.values:
        problems["format"] = f"Choose one of {', '.join(Source.Format.values)}."
    return problems


def origin_of(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port, as the fetcher reads them: who gets what is sent there. None: nobody may."""
    try:
        parsed = AllowedNetworks.parse(conf().allowed_networks).check_url(url)
    except (BadInput, FetchError):
        return None
    return parsed.scheme, parsed.host, parsed.port or DEFAULT_PORTS[parsed.scheme]


def _check_url(url: str, problems: dict[str, str]) -> None:
    check_text(url, problems, field="url", limit=URL_LIMIT)
    if "url" in problems:
        return
    try:
        AllowedNetworks.parse(conf().allowed_networks).check_url(url)
    except (BadInput, FetchError) as error:
        problems["url"] = without_field(error.message, "url")


def _check_headers(draft: SourceDraft, problems: dict[str, str]) -> None:
    given = {name: value or "" for name, value in draft.secret_headers.items()}
    for where, headers in (("headers", dict(draft.headers)), ("secret_headers", given)):
        try:
            check_headers(headers, field=where)
        except BadInput as error:
            problems[where] = without_field(error.message, where)
    twice = {name.lower() for name in draft.headers} & {name.lower() for name in given}
    if twice:
        problems.setdefault("secret_headers", f"{min(twice)[:100]} is among the other headers too.")


def _check_number(value: float, bounds: tuple[float, float], problems: dict[str, str], *, field: str) -> None:
    low, high = bounds
    if isinstance(value, bool) or not (low <= value <= high) or not math.isfinite(value):
        problems[field] = f"Give seconds from {low:g} to {high:g}; fractions are allowed."


def _check_feeds(draft: SourceDraft, problems: dict[str, str]) -> None:
    if not draft.feeds:
        problems["feeds"] = "Name at least one feed that this source fills."
    elif len(draft.feeds) > FEEDS_LIMIT:
        problems["feeds"] = f"At most {FEEDS_LIMIT} feeds; these are {len(draft.feeds)}."
        return
    seen: set[str] = set()
    for index, feed in enumerate(draft.feeds):
        place = f"feeds.{index}"
        check_slug(feed.slug, problems, field=f"{place}.slug")
        if feed.slug in seen:
            problems[f"{place}.slug"] = f"This source names the feed {feed.slug} twice."
        seen.add(feed.slug)
        check_text(feed.title, problems, field=f"{place}.title", limit=TITLE_LIMIT)
        check_expression(feed.expression, problems, field=f"{place}.expression")


def check_expression(text: str, problems: dict[str, str], *, field: str) -> None:
    """Note under `field` where a JMESPath expression breaks the language's rules."""
    check_text(text, problems, field=field, limit=EXPRESSION_LIMIT)
    if field not in problems:
        try:
            compile_expression(text, field=field)
        except BadInput as error:
            problems[field] = without_field(error.message, field)


def without_field(message: str, field: str) -> str:
    """The message alone, where the field is shown beside it anyway."""
    return message.removeprefix(f"{field}: ")
