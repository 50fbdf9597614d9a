"""The source form: what was typed, as a draft for the catalog; what is wrong, beside its field.

Only reading is done here. What a source may be, is the catalog's business, for the API and commands too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from django.http import QueryDict

from realtime.sources.catalog import FeedDraft, SourceDraft
from realtime.sources.draft import FEEDS_LIMIT, problems_of
from realtime.sources.models import Source

_ROW = re.compile(r"feeds-(\d{1,4})-slug")


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One feed in the form. `number` makes its inputs' names; `problems` is by the draft's field."""

    number: int
    draft: FeedDraft
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceForm:
    """What the page shows: texts as typed, one row for each feed and an empty one, problems by field."""

    texts: Mapping[str, str]
    method: str
    format: str
    enabled: bool
    rows: tuple[FeedRow, ...]
    kept_secrets: tuple[str, ...] = ()
    stored_secrets: tuple[str, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)

    methods = Source.Method.choices
    formats = Source.Format.choices

    @property
    def problem_list(self) -> list[str]:
        """All that is wrong, for the summary above the form."""
        return list(self.problems.values())


def form_of(draft: SourceDraft) -> SourceForm:
    """The form for a source as it is stored, or for a new one."""
    secrets = tuple(draft.secret_headers)
    texts = {
        "slug": draft.slug,
        "title": draft.title,
        "url": draft.url,
        "body": draft.body,
        "headers": "\n".join(f"{name}: {value}" for name, value in draft.headers.items()),
        "secret_headers": "",
        "interval_s": f"{draft.interval_s:g}",
        "timeout_s": f"{draft.timeout_s:g}",
    }
    return SourceForm(
        texts, draft.method, draft.format, draft.enabled, _rows(draft.feeds, {}), secrets, secrets
    )


def read_form(post: QueryDict, stored_secrets: tuple[str, ...]) -> tuple[SourceDraft, SourceForm]:
    """The draft that was typed and the form to show again, whose `problems` are all that is wrong already."""
    problems: dict[str, str] = {}
    texts = {
        name: post.get(name, "").strip()
        for name in ("slug", "title", "url", "headers", "secret_headers", "interval_s", "timeout_s")
    } | {"body": post.get("body", "").replace("\r\n", "\n")}
    kept = tuple(name for name in stored_secrets if name in post.getlist("keep_secret"))
    draft = SourceDraft(
        slug=texts["slug"],
        url=texts["url"],
        title=texts["title"],
        method=post.get("method", "GET"),
        body=texts["body"],
        headers=_headers(texts["headers"], problems, "headers"),
        secret_headers={
            **dict.fromkeys(kept),
            **_headers(texts["secret_headers"], problems, "secret_headers"),
        },
        interval_s=_seconds(texts["interval_s"]),
        timeout_s=_seconds(texts["timeout_s"]),
        format=post.get("format", "json"),
        enabled="enabled" in post,
        feeds=_feeds(post),
    )
    form = SourceForm(
        texts, draft.method, draft.format, draft.enabled, _rows(draft.feeds, {}), kept, stored_secrets
    )
    return draft, with_problems(form, draft, problems_of(draft) | problems)


def with_problems(form: SourceForm, draft: SourceDraft, problems: Mapping[str, str]) -> SourceForm:
    """The form with what is wrong, each message at its field."""
    return replace(form, problems=problems, rows=_rows(draft.feeds, problems))


def _rows(feeds: tuple[FeedDraft, ...], problems: Mapping[str, str]) -> tuple[FeedRow, ...]:
    """A row for each feed and an empty one for the next, which also serves browsers without JavaScript."""
    rows = [
        FeedRow(
            number,
            draft,
            {
                name: problems[place]
                for name in ("slug", "title", "expression")
                if (place := f"feeds.{number}.{name}") in problems
            },
        )
        for number, draft in enumerate(feeds)
    ]
    return (*rows, FeedRow(len(rows), FeedDraft("")))


def _feeds(post: QueryDict) -> tuple[FeedDraft, ...]:
    """The rows in which anything was typed, in the page's order."""
    numbers = [match[1] for name in post if (match := _ROW.fullmatch(name))]
    drafts = []
    for number in numbers[: FEEDS_LIMIT + 2]:
        slug, title, expression = (
            post.get(f"feeds-{number}-{name}", "").strip() for name in ("slug", "title", "expression")
        )
        if slug or title or expression:
            drafts.append(FeedDraft(slug, title, expression, f"feeds-{number}-public" in post))
    return tuple(drafts)


def _headers(text: str, problems: dict[str, str], name: str) -> dict[str, str]:
    """`Name: value` lines. What cannot be read is noted under `name`."""
    headers: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        key, colon, value = line.partition(":")
        if not colon or not key.strip():
            problems[name] = f"Line {number}: write it as Name: value."
        elif key.strip().lower() in map(str.lower, headers):
            problems[name] = f"Line {number}: {key.strip()[:100]} is there twice."
        else:
            headers[key.strip()] = value.strip()
    return headers


def _seconds(text: str) -> float:
    """The number, or NaN, which the catalog refuses with its bounds."""
    try:
        return float(text)
    except ValueError:
        return math.nan
