"""Trying a source before it is saved: one request, read and picked from, and nothing written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from realtime.conf import conf
from realtime.errors import BadInput, BadStatus, ExtractError, FetchError, InvalidDraft
from realtime.feeds.publication import encode_data

from .catalog import find_secrets
from .draft import FeedDraft, SourceDraft, check_expression, request_problems, without_field
from .extract import parse, pick
from .fetch import Fetcher, Request, Response
from .guard import AllowedNetworks

TRIAL_TIMEOUT_S = 30.0
EXCERPT_CHARACTERS = 4000


@dataclass(frozen=True, slots=True)
class Trial:
    """What one request brought, as far as it came.

    url        where redirects ended; status None: no answer came
    excerpt    the first characters of the body, as text
    document   the body as JSON, as its format reads it; None when it cannot be read or is too large to show
    values     what each feed's expression found, by the feed's place in the draft, as JSON
    problems   what went wrong, by field: `url`, `format`, `feeds.<index>.expression`
    """

    url: str
    status: int | None = None
    content_type: str = ""
    duration_ms: float = 0.0
    size_bytes: int = 0
    excerpt: str = ""
    document: str | None = None
    values: Mapping[int, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


async def try_source(draft: SourceDraft, fetcher: Fetcher | None = None) -> Trial:
    """Fetch what the draft asks for and pick its values, at most once and in at most 30 s.

    Names, titles and the interval may still be missing. Raises InvalidDraft when no request can be made of
    the draft; whatever goes wrong from there on is in the trial's `problems`. Secret values of None must have
    been filled in before, by `with_secrets`. Without a `fetcher` one is opened and closed again.
    """
    problems = request_problems(draft)
    if None in draft.secret_headers.values():
        problems.setdefault("secret_headers", "Give the values: none are stored for this address.")
    if problems:
        raise InvalidDraft(problems)
    if fetcher is not None:
        return await _try(draft, fetcher)
    fetcher = Fetcher(AllowedNetworks.parse(conf().allowed_networks), limit_bytes=conf().fetch_limit_bytes)
    try:
        return await _try(draft, fetcher)
    finally:
        await fetcher.aclose()


def with_secrets(draft: SourceDraft, slug: str) -> SourceDraft:
    """The draft with the secret values that the source `slug` has for it; a unit of work for `Database.read`.

    They are filled in only while the draft asks the same scheme, host and port.
    """
    if None not in draft.secret_headers.values():
        return draft
    stored = find_secrets(slug, draft.url)
    filled = {
        name: stored.get(name) if value is None else value for name, value in draft.secret_headers.items()
    }
    return replace(draft, secret_headers=filled)


async def _try(draft: SourceDraft, fetcher: Fetcher) -> Trial:
    secrets = {name: value for name, value in draft.secret_headers.items() if value is not None}
    request = Request(
        url=draft.url,
        method=draft.method,
        headers={**draft.headers, **secrets},
        body=draft.body,
        timeout_s=min(draft.timeout_s, TRIAL_TIMEOUT_S),
    )
    started = time.monotonic()
    try:
        response = await fetcher.fetch(request)
    except (FetchError, BadInput) as error:
        return Trial(
            draft.url,
            status=error.status if isinstance(error, BadStatus) else None,
            duration_ms=(time.monotonic() - started) * 1000,
            problems={"url": without_field(error.message, "url")} | _expression_problems(draft.feeds),
        )
    # Large documents take a while to read; the loop has others to serve.
    return await asyncio.to_thread(_read, draft, response)


def _read(draft: SourceDraft, response: Response) -> Trial:
    trial = Trial(
        response.url,
        response.status,
        response.content_type,
        response.duration_ms,
        len(response.body),
        response.body[: EXCERPT_CHARACTERS * 4].decode(errors="replace")[:EXCERPT_CHARACTERS],
    )
    problems = _expression_problems(draft.feeds)
    try:
        document = parse(response.body, draft.format, response.content_type)
    except ExtractError as error:
        return replace(trial, problems={"format": error.message} | problems)
    values = {}
    for index, feed in enumerate(draft.feeds):
        place = f"feeds.{index}.expression"
        if place in problems:
            continue
        try:
            values[index] = _as_json(pick(document, feed.expression))
        except (ExtractError, BadInput) as error:
            problems[place] = without_field(error.message, "value")
    return replace(trial, document=_shown(document), values=values, problems=problems)


def _expression_problems(feeds: tuple[FeedDraft, ...]) -> dict[str, str]:
    problems: dict[str, str] = {}
    for index, feed in enumerate(feeds):
        check_expression(feed.expression, problems, field=f"feeds.{index}.expression")
    return problems


def _as_json(value: Any) -> str:
    return encode_data(value, limit_bytes=conf().value_limit_bytes, field="value")


def _shown(document: Any) -> str | None:
    try:
        return _as_json(document)
    except BadInput:
        return None
