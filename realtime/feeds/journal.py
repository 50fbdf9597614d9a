"""Reading the journal: what a feed holds now, what came after a position, what it held before.

Sync functions, each one unit of work for `Database.read`. The journal is the truth; nothing here writes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, FilteredRelation, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from realtime.errors import NotFound

from .models import Feed, JournalEntry
from .position import Position
from .publication import Mark, Publication, Snapshot, Status, state_of

# Values in one answer. A thousand of the largest size would be a gigabyte.
HISTORY_LIMIT_CHARACTERS = 8_000_000


def snapshots(feed_ids: Collection[int]) -> dict[int, Snapshot]:
    """Each feed's newest publication and status, by feed; feeds that do not exist are left out. One query."""
    rows = (
        Feed.objects.filter(pk__in=feed_ids)
        .annotate(newest=FilteredRelation("entries", condition=Q(entries__offset=F("offset"))))
        .order_by()
        .values_list(
            "pk",
            "slug",
            "epoch",
            "offset",
            "newest__published_at",
            "newest__data",
            "newest__info",
            "newest__tags",
            "status_rev",
            "state",
            "last_ok_at",
            "next_poll_at",
            "error",
        )
    )
    result = {}
    for feed_id, slug, epoch, offset, published_at, data, info, tags, rev, state, *times, error in rows:
        status = Status(rev, state_of(state), times[0], times[1], error)
        value = "null" if data is None else data
        result[feed_id] = Snapshot(
            feed_id, slug, epoch, offset, published_at, value, status, info or "", tags or ""
        )
    return result


def entries_after(feed_id: int, epoch: str, offset: int, limit: int) -> list[Publication]:
    """At most `limit` publications above `offset`, oldest first. The epoch must be the feed's own."""
    entries = JournalEntry.objects.filter(feed_id=feed_id, feed__epoch=epoch, offset__gt=offset)
    return _publications(entries.order_by("offset")[:limit], epoch)


def history(
    feed_id: int,
    *,
    limit: int,
    since: Position | None = None,
    before: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[Publication]:
    """Publications, oldest first: the `limit` newest or, with `since`, the `limit` next after that offset.

    `before` is an offset, exclusive; `start` is inclusive, `end` exclusive. An epoch in `since` that is not
    the feed's gives an empty list. Fewer than `limit` when their values pass `HISTORY_LIMIT_CHARACTERS`
    together; at least one, if there is one. Raises NotFound when the feed is gone.
    """
    epoch = Feed.objects.filter(pk=feed_id).values_list("epoch", flat=True).first()
    if epoch is None:
        raise NotFound("This feed does not exist any more.")
    entries = JournalEntry.objects.filter(feed_id=feed_id)
    if before is not None:
        entries = entries.filter(offset__lt=before)
    if start is not None:
        entries = entries.filter(published_at__gte=start)
    if end is not None:
        entries = entries.filter(published_at__lt=end)
    if since is None:
        return _affordable(entries.order_by("-offset")[:limit], epoch)[::-1]
    if since.epoch != epoch:
        return []
    return _affordable(entries.filter(offset__gt=since.offset).order_by("offset")[:limit], epoch)


@dataclass(frozen=True, slots=True)
class Window:
    """What `window` read.

    epoch, offset   where the feed stands; no publication lies above it
    publications    in the order asked for
    """

    epoch: str
    offset: int
    publications: list[Publication]


def window(
    feed_id: int,
    *,
    size: int,
    age_s: float,
    limit: int,
    since: Position | None = None,
    reverse: bool = False,
) -> Window:
    """At most `limit` publications; of the feed's, the `size` newest of the last `age_s` seconds count.

    since     those after this offset or, in reverse, those before it; an empty epoch is the present one
    reverse   newest first, else oldest first
    limit     0: where the feed stands, and no publications

    Past size or age nothing is shown, whether it was trimmed or not. An epoch in `since` that is not the
    feed's gives no publications. Fewer than `limit` when they pass `HISTORY_LIMIT_CHARACTERS` together, but
    one at least. Raises NotFound when the feed is gone.
    """
    young = JournalEntry.objects.filter(
        feed=OuterRef("pk"), published_at__gte=timezone.now() - timedelta(seconds=age_s)
    )
    row = (
        Feed.objects.filter(pk=feed_id)
        .annotate(first_young=Subquery(young.order_by("published_at", "offset").values("offset")[:1]))
        .values_list("epoch", "offset", "first_young")
        .first()
    )
    if row is None:
        raise NotFound("This feed does not exist any more.")
    epoch, top, first_young = row
    floor = top if first_young is None else max(min(first_young - 1, top), top - size)
    if since is not None and since.epoch not in ("", epoch):
        return Window(epoch, top, [])
    after, before = floor, top + 1
    if since is not None and reverse:
        before = min(before, since.offset)
    elif since is not None:
        after = max(after, since.offset)
    publications = []
    if limit > 0 and before - after > 1:
        # Offsets have no holes, so these bounds hold even if more was published or trimmed meanwhile.
        entries = JournalEntry.objects.filter(feed_id=feed_id, offset__gt=after, offset__lt=before)
        publications = _affordable(entries.order_by("-offset" if reverse else "offset")[:limit], epoch)
    return Window(epoch, top, publications)


def holds_next(feed_id: int, since: Position) -> bool:
    """Whether nothing after `since` is lost: it is of the feed's epoch, and the next entry is still there."""
    mark = marks([feed_id]).get(feed_id)
    if mark is None or mark.epoch != since.epoch or mark.offset < since.offset:
        return False
    at_the_top = mark.offset == since.offset
    return at_the_top or JournalEntry.objects.filter(feed_id=feed_id, offset=since.offset + 1).exists()


def marks(feed_ids: Collection[int]) -> dict[int, Mark]:
    """How far each feed has come, by feed; feeds that do not exist are left out. One query."""
    rows: Iterable[tuple[int, str, int, int]] = Feed.objects.filter(pk__in=feed_ids).values_list(
        "pk", "epoch", "offset", "status_rev"
    )
    return {feed_id: Mark(epoch, offset, rev) for feed_id, epoch, offset, rev in rows}


def _affordable(entries: QuerySet[JournalEntry], epoch: str) -> list[Publication]:
    """The first of these entries, up to the limit of characters; read piece by piece, not all at once."""
    taken: list[Publication] = []
    room = HISTORY_LIMIT_CHARACTERS
    rows = entries.values_list("feed_id", "offset", "published_at", "data", "info", "tags")
    for feed_id, offset, at, data, info, tags in rows.iterator(chunk_size=20):
        room -= len(data) + len(info) + len(tags)
        if room < 0 and taken:
            break
        taken.append(Publication(feed_id, epoch, offset, at, data, info, tags))
    return taken


def _publications(entries: QuerySet[JournalEntry], epoch: str) -> list[Publication]:
    rows = entries.values_list("feed_id", "offset", "published_at", "data", "info", "tags")
    return [
        Publication(feed_id, epoch, offset, at, data, info, tags)
        for feed_id, offset, at, data, info, tags in rows
    ]
