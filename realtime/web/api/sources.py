"""`/api/sources`: what is polled. For managers only; values of secret headers never come out."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from realtime.feeds.publication import timestamp
from realtime.feeds.runtime import Feeds
from realtime.sources import catalog, trial
from realtime.sources.catalog import FeedDraft, SourceDraft, SourceRow

from . import schemas
from .answers import answer, with_json
from .auth import MANAGERS
from .feeds import ERRORS

router = Router(tags=["sources"])


@router.get("", auth=MANAGERS, response={200: schemas.SourcePage, **ERRORS})
async def list_sources(request: HttpRequest, query: Query[schemas.Page]) -> HttpResponse:
    """All sources, by name, with where they stand in their schedule. `search` looks at URLs as well."""
    unit = partial(catalog.list_sources, **query.model_dump())
    rows, total = await Feeds.current().database.read(unit)
    return answer(request, schemas.SourcePage(sources=[_source_out(row) for row in rows], total=total))


@router.post("", auth=MANAGERS, response={201: schemas.SourceOut, **ERRORS})
async def create_source(request: HttpRequest, payload: schemas.SourceIn) -> HttpResponse:
    """A new source with the feeds that it fills, polled at once."""
    await Feeds.current().database.write(catalog.create_source, SourceDraft(**_fields(payload)))
    response = await _current(request, payload.slug, status=201)
    response["Location"] = f"{request.path}/{payload.slug}"
    return response


@router.post("/try", auth=MANAGERS, response={200: schemas.TrialOut, **ERRORS})
async def try_source(request: HttpRequest, payload: schemas.SourceTrial) -> HttpResponse:
    """Fetch and extract once, without saving. Secret values of null are those stored for `slug`.

    `values` has one value for each of the feeds, null where `problems` says why not.
    """
    draft = SourceDraft(**_fields(payload))
    draft = await Feeds.current().database.read(trial.with_secrets, draft, draft.slug)
    result = await trial.try_source(draft)
    head = schemas.TrialHead(
        url=result.url,
        status=result.status,
        content_type=result.content_type,
        duration_ms=round(result.duration_ms, 1),
        size_bytes=result.size_bytes,
        excerpt=result.excerpt,
        problems=dict(result.problems),
    )
    values = ",".join(result.values.get(index, "null") for index in range(len(draft.feeds)))
    texts = {"values": f"[{values}]", "document": result.document or "null"}
    return answer(request, with_json(head, texts))


@router.get("/{slug}", auth=MANAGERS, response={200: schemas.SourceOut, **ERRORS})
async def read_source(request: HttpRequest, slug: str) -> HttpResponse:
    """One source. Secret headers are named, with null for their values."""
    return await _current(request, slug)


@router.patch("/{slug}", auth=MANAGERS, response={200: schemas.SourceOut, **ERRORS})
async def change_source(request: HttpRequest, slug: str, payload: schemas.SourceChange) -> HttpResponse:
    """Change what you send; the rest stays. It is polled again at once.

    `feeds` replaces the whole list: a feed that is not in it any more is deleted with its journal.
    """
    changes = _fields(payload, exclude_unset=True)
    await Feeds.current().database.write(catalog.amend_source, slug, changes)
    return await _current(request, changes.get("slug", slug))


@router.delete("/{slug}", auth=MANAGERS, response={204: None, **ERRORS})
async def delete_source(request: HttpRequest, slug: str) -> HttpResponse:
    """Delete the source and the feeds that it fills, with their journals."""
    await Feeds.current().database.write(catalog.delete_source, slug)
    return HttpResponse(status=204)


@router.post("/{slug}/poll", auth=MANAGERS, response={202: schemas.Due, **ERRORS})
async def poll_source(request: HttpRequest, slug: str) -> HttpResponse:
    """Make the source due now. 409 while it is disabled."""
    due = await Feeds.current().database.write(catalog.poll_now, slug)
    return answer(request, schemas.Due(next_poll_at=str(timestamp(due))), status=202)


def _fields(payload: schemas.SourceChange, *, exclude_unset: bool = False) -> dict[str, Any]:
    """The draft's fields that were sent."""
    fields = payload.model_dump(exclude_unset=exclude_unset)
    if "feeds" in fields:
        fields["feeds"] = tuple(FeedDraft(**feed.model_dump()) for feed in payload.feeds)
    return fields


async def _current(request: HttpRequest, slug: str, *, status: int = 200) -> HttpResponse:
    row = await Feeds.current().database.read(catalog.read_source, slug)
    return answer(request, _source_out(row), status=status)


def _source_out(row: SourceRow) -> schemas.SourceOut:
    draft = row.draft
    return schemas.SourceOut(
        slug=draft.slug,
        url=draft.url,
        title=draft.title,
        method=draft.method,
        body=draft.body,
        headers=dict(draft.headers),
        secret_headers=dict.fromkeys(draft.secret_headers),
        interval_s=draft.interval_s,
        timeout_s=draft.timeout_s,
        format=draft.format,
        enabled=draft.enabled,
        feeds=[schemas.SourceFeedIn(**asdict(feed)) for feed in draft.feeds],
        next_poll_at=timestamp(row.next_poll_at),
        last_polled_at=timestamp(row.last_polled_at),
        last_duration_ms=row.last_duration_ms,
        failures=row.failures,
        last_error=row.last_error,
    )
