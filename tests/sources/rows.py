"""Sources and feeds as rows, for tests that are about what happens to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from realtime.feeds.models import Feed
from realtime.sources.models import Extraction, Source


@transaction.atomic  # as in the catalog: a poller that runs never sees a source without its feeds
def make_source(
    slug: str = "quotes",
    *,
    next_poll_at: datetime | None = None,
    expressions: tuple[str, ...] = ("value",),
    **fields: Any,
) -> Source:
    """A saved source with one feed per expression, named `<slug>-0`, `<slug>-1`…"""
    values = {"title": slug, "url": "http://upstream.test/", "interval_s": 10, "timeout_s": 5} | fields
    source = Source.objects.create(slug=slug, next_poll_at=next_poll_at, **values)
    for number, expression in enumerate(expressions):
        feed = Feed.objects.create(slug=f"{slug}-{number}", title=slug, kind=Feed.Kind.SOURCE, state="stale")
        Extraction.objects.create(source=source, feed=feed, expression=expression)
    return source
