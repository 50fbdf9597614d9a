"""Sources as they are stored, for people and for changes to start from; secret values stay inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from realtime.errors import BadInput, InvalidDraft, NotFound
from realtime.feeds.checks import is_printable, is_slug

from .draft import FeedDraft, SourceDraft, origin_of
from .models import Source
from .secret_field import UnreadableSecret

SOURCES_PER_PAGE = 100


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source as it is stored (secret header values are None) and where it stands in its schedule."""

    draft: SourceDraft
    next_poll_at: datetime | None
    last_polled_at: datetime | None
    last_duration_ms: float | None
    failures: int
    last_error: str


def read_source(slug: str) -> SourceRow:
    """The source of that name, or NotFound."""
    return _row_of(find_source(slug))


def list_sources(*, search: str = "", limit: int, skip: int = 0) -> tuple[list[SourceRow], int]:
    """One page of all sources by name, and how many match. `search` is found in names, titles and URLs."""
    if not is_printable(search):
        raise BadInput("search: contains characters that cannot be printed.", field="search")
    sources = search_sources(search)
    page = list(_with_feeds(sources)[skip : skip + limit])
    _load_secrets(page)
    return [_row_of(source) for source in page], sources.count()


def search_sources(search: str) -> QuerySet[Source]:
    """The sources with this text in name, title or URL, by name; without a text, all."""
    sources = Source.objects.order_by("slug")
    if not search:
        return sources
    return sources.filter(Q(slug__icontains=search) | Q(title__icontains=search) | Q(url__icontains=search))


def draft_of(source: Source) -> SourceDraft:
    """The stored source as a draft that would keep it as it is."""
    try:
        secrets: Mapping[str, None] = dict.fromkeys(source.secret_headers)
    except UnreadableSecret:
        secrets = {}
    return SourceDraft(
        slug=source.slug,
        url=source.url,
        title=source.title,
        method=source.method,
        body=source.body,
        headers=dict(source.headers),
        secret_headers=secrets,
        interval_s=source.interval_s,
        timeout_s=source.timeout_s,
        format=source.format,
        enabled=source.enabled,
        feeds=tuple(
            FeedDraft(each.feed.slug, each.feed.title, each.expression, each.feed.public)
            for each in source.extractions.all()
        ),
    )


def stored_secrets(source: Source) -> dict[str, str]:
    """The secret headers with their values, for requests only. Raises InvalidDraft when no key opens them."""
    try:
        return dict(source.secret_headers)
    except UnreadableSecret as error:
        raise InvalidDraft({"secret_headers": f"{error} Give the values again."}) from error


def find_secrets(slug: str, url: str) -> dict[str, str]:
    """The secret headers that the source `slug` would send to `url`: {} if unknown or elsewhere."""
    source = Source.objects.filter(slug=slug).defer("secret_headers").first() if is_slug(slug) else None
    if source is None or origin_of(source.url) != origin_of(url):
        return {}
    return stored_secrets(source)


def find_source(slug: str, *, lock: bool = False) -> Source:
    """The row with its feeds, or NotFound; `lock` holds it until the transaction ends."""
    sources = _with_feeds(Source.objects.filter(slug=slug))
    if lock:
        sources = sources.select_for_update()
    source = sources.first() if is_slug(slug) else None
    if source is None:
        raise NotFound("There is no source of that name.", field="slug")
    return source


def _with_feeds(sources: QuerySet[Source]) -> QuerySet[Source]:
    # Secrets are read one by one, so that one that no key opens does not hide the others' rows.
    return sources.defer("secret_headers").prefetch_related("extractions__feed")


def _load_secrets(sources: list[Source]) -> None:
    """All secrets in one query; where no key opens one of them, `draft_of` reads them one by one."""
    sealed = Source.objects.filter(pk__in=[source.pk for source in sources])
    try:
        opened = dict(sealed.values_list("pk", "secret_headers"))
    except UnreadableSecret:
        return
    for source in sources:
        source.secret_headers = opened[source.pk]


def _row_of(source: Source) -> SourceRow:
    return SourceRow(
        draft_of(source),
        source.next_poll_at,
        source.last_polled_at,
        source.last_duration_ms,
        source.failures,
        source.last_error,
    )
