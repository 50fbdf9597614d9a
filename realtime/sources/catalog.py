"""Which sources there are: validated create, read, change, delete and "poll now", one transaction each.

Sync functions, each one unit of work for `Database.read` or `Database.write`. A source owns the feeds it
fills: they are made, changed and deleted with it, because nothing else could ever fill them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from realtime.errors import Conflict, InvalidDraft
from realtime.feeds.models import Feed
from realtime.feeds.runtime import write_now
from realtime.feeds.store import Health, Write

from .draft import FeedDraft, SourceDraft, origin_of, problems_of
from .models import Extraction, Source
from .stored import SourceRow, draft_of, find_secrets, find_source, list_sources, read_source, stored_secrets

__all__ = [
    "FeedDraft",
    "SourceDraft",
    "SourceRow",
    "amend_source",
    "change_source",
    "create_source",
    "delete_source",
    "draft_of",
    "find_secrets",
    "list_sources",
    "poll_now",
    "read_source",
]


def create_source(draft: SourceDraft) -> Source:
    """Save a new source with its feeds; the first poll is due at once.

    Raises InvalidDraft with every wrong field, or Conflict when the name of the source or of a feed is taken.
    """
    _raise_any(problems_of(draft) | _missing_secrets(draft, {}))
    with transaction.atomic():
        _check_taken(draft, owner=None)
        source = Source()
        _apply(source, draft, {})
        return source


def change_source(slug: str, draft: SourceDraft) -> Source:
    """Make the source as the draft says, which may rename it; polled again at once if it is enabled.

    What was known of the old answer (ETag, failures) is forgotten; a poll under way ends first. Feeds that
    the draft does not name any more are deleted with their journals. A secret value is kept only while
    scheme, host and port stay the same, so that nobody can have it sent elsewhere. Raises NotFound,
    InvalidDraft or Conflict.
    """
    problems = problems_of(draft)
    with transaction.atomic():
        source = find_source(slug, lock=True)
        stored: dict[str, str] = {}
        if None in draft.secret_headers.values():
            stored = stored_secrets(source)
            if origin_of(source.url) != origin_of(draft.url) and "url" not in problems:
                problems.setdefault(
                    "secret_headers", "The URL names another server: give the secret values again."
                )
        _raise_any(problems | _missing_secrets(draft, stored))
        _check_taken(draft, owner=source)
        _apply(source, draft, stored)
        return source


def amend_source(slug: str, changes: Mapping[str, Any]) -> Source:
    """Change only the fields of the draft that are named in `changes`; else like `change_source`."""
    with transaction.atomic():
        source = find_source(slug, lock=True)
        if "secret_headers" not in changes:
            stored_secrets(source)  # unreadable ones must not be lost by the way
        return change_source(slug, replace(draft_of(source), **changes))


def delete_source(slug: str) -> None:
    """Delete the source and the feeds that it fills, with their journals. Raises NotFound."""
    with transaction.atomic():
        source = find_source(slug, lock=True)
        _delete_feeds(source.extractions.values_list("feed_id", flat=True))
        source.delete()


def poll_now(slug: str) -> datetime:
    """Make the source due at once, and say since when. Raises NotFound, or Conflict while it is disabled."""
    with transaction.atomic():
        source = find_source(slug, lock=True)
        if not source.enabled:
            raise Conflict("This source is disabled. Enable it, and it is polled at once.")
        source.next_poll_at = timezone.now()
        source.save(update_fields=["next_poll_at"])
    return source.next_poll_at


def _raise_any(problems: dict[str, str]) -> None:
    if problems:
        raise InvalidDraft(problems)


def _missing_secrets(draft: SourceDraft, stored: Mapping[str, str]) -> dict[str, str]:
    missing = [name for name, value in draft.secret_headers.items() if value is None and name not in stored]
    return {"secret_headers": f"Give a value for {missing[0][:100]}: none is stored."} if missing else {}


def _check_taken(draft: SourceDraft, *, owner: Source | None) -> None:
    others = Source.objects.exclude(pk=owner.pk) if owner else Source.objects.all()
    if others.filter(slug=draft.slug).exists():
        raise Conflict(f"slug: a source named {draft.slug} exists already.", field="slug")
    wanted = {feed.slug: index for index, feed in enumerate(draft.feeds)}
    feeds = Feed.objects.filter(slug__in=wanted)
    if owner:
        feeds = feeds.exclude(extraction__source=owner)
    for slug in feeds.values_list("slug", flat=True)[:1]:
        field = f"feeds.{wanted[slug]}.slug"
        raise Conflict(f"{field}: a feed named {slug} exists already.", field=field)


def _apply(source: Source, draft: SourceDraft, stored: Mapping[str, str]) -> None:
    now = timezone.now()
    source.slug, source.url, source.title = draft.slug, draft.url, draft.title.strip() or draft.slug
    source.method, source.body, source.format = draft.method, draft.body, draft.format
    source.headers = dict(draft.headers)
    source.secret_headers = {
        name: stored[name] if value is None else value for name, value in draft.secret_headers.items()
    }
    source.interval_s, source.timeout_s = float(draft.interval_s), float(draft.timeout_s)
    source.enabled = draft.enabled
    source.next_poll_at = now if draft.enabled else None
    source.failures, source.etag, source.last_modified, source.last_error = 0, "", "", ""
    try:
        with transaction.atomic():
            source.save()
            _apply_feeds(source, draft.feeds)
    except IntegrityError:
        raise Conflict("The name of the source or of a feed was taken a moment ago.", field="slug") from None


def _apply_feeds(source: Source, drafts: Iterable[FeedDraft]) -> None:
    _lock_feeds(source.extractions.values_list("feed_id", flat=True))  # the draft has an order of its own
    before = {each.feed.slug: each for each in source.extractions.select_related("feed")}
    state = Feed.State.STALE if source.enabled else Feed.State.PAUSED
    writes = []
    for draft in drafts:
        alone = source.title if draft.slug == source.slug else draft.slug
        title = draft.title.strip() or alone
        known = before.pop(draft.slug, None)
        if known is None:
            feed = Feed.objects.create(
                slug=draft.slug,
                title=title,
                public=draft.public,
                kind=Feed.Kind.SOURCE,
                recovery=Feed.Recovery.CACHE,
                state=state,
                next_poll_at=source.next_poll_at,
            )
            Extraction.objects.create(source=source, feed=feed, expression=draft.expression)
            continue
        Feed.objects.filter(pk=known.feed_id).update(title=title, public=draft.public)
        Extraction.objects.filter(pk=known.pk).update(expression=draft.expression)
        writes.append(Write(known.feed_id, health=_health_after(known.feed, source)))
    _delete_feeds(each.feed_id for each in before.values())
    write_now(writes)


def _delete_feeds(feed_ids: Iterable[int]) -> None:
    Feed.objects.filter(pk__in=_lock_feeds(feed_ids)).delete()


def _lock_feeds(feed_ids: Iterable[int]) -> list[int]:
    """Those that are there. In the store's order: what it writes ends before, and nothing comes after."""
    feeds = Feed.objects.select_for_update().filter(pk__in=list(feed_ids)).order_by("pk")
    return list(feeds.values_list("pk", flat=True))


def _health_after(feed: Feed, source: Source) -> Health:
    """A kept feed is as good as it was until the next poll tells, unless the source's switch was moved."""
    if not source.enabled:
        return Health("paused", feed.last_ok_at, None)
    if feed.state == Feed.State.PAUSED:
        return Health("stale", feed.last_ok_at, source.next_poll_at)
    state: Any = feed.state
    return Health(state, feed.last_ok_at, source.next_poll_at, feed.error)
