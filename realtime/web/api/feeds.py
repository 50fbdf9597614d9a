"""`/api/feeds`: lists, one feed with its value, its history, and publishing to push feeds."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from realtime.errors import BadInput, NotFound
from realtime.feeds import catalog
from realtime.feeds.catalog import FeedRef, FeedRow
from realtime.feeds.demand import Opening, name_with, opener_of
from realtime.feeds.journal import history, holds_next, marks, snapshots
from realtime.feeds.models import Feed
from realtime.feeds.position import Position, parse_position
from realtime.feeds.publication import Publication, Snapshot, timestamp
from realtime.feeds.runtime import Feeds

from . import schemas
from .answers import answer, with_json
from .auth import ANYBODY, MANAGERS, PUBLISHERS, caller

router = Router(tags=["feeds"])
ERRORS = dict.fromkeys((400, 401, 403, 404, 409, 413, 503), schemas.ErrorOut)


@router.get("", auth=ANYBODY, response={200: schemas.FeedPage, **ERRORS})
async def list_feeds(request: HttpRequest, query: Query[schemas.FeedPageQuery]) -> HttpResponse:
    """The feeds that you may read, by name, without their values."""
    unit = partial(catalog.readable_feeds, caller(request), **query.model_dump())
    rows, total = await Feeds.current().database.read(unit)
    return answer(request, schemas.FeedPage(feeds=[_feed_out(row) for row in rows], total=total))


@router.post("", auth=MANAGERS, response={201: schemas.FeedHead, **ERRORS})
async def create_feed(request: HttpRequest, payload: schemas.FeedIn) -> HttpResponse:
    """A new push feed. It is private unless you say `"public": true`."""
    feeds = Feeds.current()
    fields = payload.model_dump(exclude={"slug"})
    await feeds.database.write(partial(catalog.create_feed, payload.slug, **fields))
    response = await _current(request, payload.slug, status=201)
    response["Location"] = f"{request.path}/{payload.slug}"
    return response


@router.get("/{slug}", auth=ANYBODY, response={200: schemas.FeedValue, **ERRORS})
async def read_feed(request: HttpRequest, slug: str) -> HttpResponse:
    """One feed: its newest value (`null` with offset 0: none yet), position and status.

    The parameters of a live query may stand in the address: `/api/feeds/query:open-orders?customer=42`.
    """
    return await _current(request, slug)


@router.patch("/{slug}", auth=MANAGERS, response={200: schemas.FeedValue, **ERRORS})
async def change_feed(request: HttpRequest, slug: str, payload: schemas.FeedChange) -> HttpResponse:
    """Change what you send; the rest stays. Of a feed that a source fills as well."""
    fields = payload.model_dump(exclude_unset=True)
    await Feeds.current().database.write(partial(catalog.change_feed, slug, **fields))
    return await _current(request, slug)


@router.delete("/{slug}", auth=MANAGERS, response={204: None, **ERRORS})
async def delete_feed(request: HttpRequest, slug: str) -> HttpResponse:
    """Delete a feed with its journal. 409 for a feed that a source fills."""
    await Feeds.current().database.write(catalog.delete_feed, slug)
    return HttpResponse(status=204)


@router.get("/{slug}/history", auth=ANYBODY, response={200: schemas.History, **ERRORS})
async def read_history(request: HttpRequest, slug: str, query: Query[schemas.HistoryQuery]) -> HttpResponse:
    """Publications, oldest first: the newest, or those next after `since`.

    An answer may hold fewer than `limit` where values are large; go on from the last offset. A `since` whose
    publications are gone, or of another epoch, is answered with `"reset": true` and the newest ones.
    """
    unit = partial(
        _history,
        await _finder(request, slug, own=schemas.HistoryQuery.model_fields),
        limit=query.limit,
        since=parse_position(query.since) if query.since else None,
        before=query.before,
        start=_moment(query.start, "start"),
        end=_moment(query.end, "end"),
    )
    head, publications = await Feeds.current().database.read(unit)
    return answer(
        request, with_json(head, {"publications": f"[{','.join(map(_publication, publications))}]"})
    )


@router.post(
    "/{slug}/publish",
    auth=PUBLISHERS,
    response={201: schemas.PositionOut, 200: schemas.PositionOut, **ERRORS},
)
async def publish(request: HttpRequest, slug: str, payload: schemas.PublishIn) -> HttpResponse:
    """Publish a value, answered only after its commit: 201 and its position.

    A value equal to the newest one is no new publication: 200 and the position that stands. On a channel it
    is one.
    """
    feeds = Feeds.current()
    if opener_of(slug) is not None:
        catalog.check_publishable(Feed.Kind.QUERY, field="slug")  # whether there is such a feed or not
    feed = await feeds.database.read(catalog.find_feed, slug)
    catalog.check_publishable(feed.kind, field="slug")
    written = await feeds.store.publish(feed.id, payload.data, always=feed.kind == "channel")
    position = schemas.PositionOut(epoch=written.position.epoch, offset=written.position.offset)
    return answer(request, position, status=201 if written.publication else 200)


async def _current(request: HttpRequest, slug: str, *, status: int = 200) -> HttpResponse:
    find = await _finder(request, slug)
    row, snapshot = await Feeds.current().database.read(_feed_now, find)
    head = schemas.FeedHead(**_feed_out(row).model_dump(), published_at=timestamp(snapshot.published_at))
    return answer(request, with_json(head, {"data": snapshot.data}), status=status)


async def _finder(request: HttpRequest, slug: str, *, own: Container[str] = ()) -> Callable[[], FeedRef]:
    """What finds the feed, if the caller may read it, in a unit of work. Live queries are opened at once.

    own   the parameters that are not the query's
    """
    if opener_of(slug) is None:
        return partial(catalog.find_readable, slug, caller(request))
    pairs = [(name, value) for name, values in request.GET.lists() for value in values if name not in own]
    feed = await Opening.of(Feeds.current()).open(name_with(slug, pairs), caller(request))
    return lambda: feed


def _feed_now(find: Callable[[], FeedRef]) -> tuple[FeedRow, Snapshot]:
    ref = find()
    snapshot = snapshots([ref.id]).get(ref.id)
    if snapshot is None:
        raise NotFound("This feed was deleted a moment ago.", field="slug")
    status = snapshot.status
    row = FeedRow(
        ref,
        snapshot.epoch,
        snapshot.offset,
        status.state,
        status.last_ok_at,
        status.next_poll_at,
        status.error,
    )
    return row, snapshot


def _history(
    find: Callable[[], FeedRef],
    *,
    limit: int,
    since: Position | None,
    before: int | None,
    start: datetime | None,
    end: datetime | None,
) -> tuple[schemas.HistoryHead, list[Publication]]:
    feed = find()
    publications = history(feed.id, limit=limit, since=since, before=before, start=start, end=end)
    # Looked at after reading, so that what is trimmed meanwhile is noticed.
    reset = since is not None and not holds_next(feed.id, since)
    if reset:
        publications = history(feed.id, limit=limit, before=before, start=start, end=end)
    mark = marks([feed.id]).get(feed.id)
    if mark is None:
        raise NotFound("This feed was deleted a moment ago.", field="slug")
    head = schemas.HistoryHead(slug=feed.slug, epoch=mark.epoch, offset=mark.offset, reset=reset)
    return head, publications


def _feed_out(row: FeedRow) -> schemas.FeedOut:
    status = schemas.Status(
        state=row.state,
        last_ok_at=timestamp(row.last_ok_at),
        next_poll_at=timestamp(row.next_poll_at),
        error=row.error,
    )
    described = asdict(row.ref)
    del described["id"]
    return schemas.FeedOut(**described, epoch=row.epoch, offset=row.offset, status=status)


def _publication(publication: Publication) -> str:
    at = timestamp(publication.published_at)
    return f'{{"offset":{publication.offset},"published_at":"{at}","data":{publication.data}}}'


def _moment(text: str, field: str) -> datetime | None:
    """An ISO 8601 time in UTC. Without a zone it would mean something else to everybody, so it is refused."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("no time zone")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadInput(
            f"{field}: give a time as 2026-01-31T12:00:00Z; a + in an address is written %2B.", field=field
        ) from None
