"""The only writer of publications: allocates offsets, keeps the journal and each feed's health.

A publication is committed first and announced afterwards; the announcement is a hint, the journal the truth.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from realtime.conf import conf
from realtime.errors import HeadwaterError, NotFound, Unavailable

from .announcement import Announcement
from .database import Database
from .idempotency import Key, find_made, keep_made
from .models import Feed, JournalEntry
from .position import Position
from .publication import Publication, State, Status, digest_of, encode_data

logger = logging.getLogger(__name__)

BATCH_LIMIT = 500
WAITING_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Health:
    """How well a feed is to be from now on. `error` is cut to 500 characters."""

    state: State
    last_ok_at: datetime | None
    next_poll_at: datetime | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Write:
    """What to record for one feed: a value as JSON text, its health, or both.

    info, tags   of the value's publication, see `Publication`
    always       the value is a publication even when it equals the one before
    key          makes it once: repeated within five minutes, it comes to what it came to then
    """

    feed_id: int
    data: str | None = None
    health: Health | None = None
    info: str = ""
    tags: str = ""
    always: bool = False
    key: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """What a write came to. `publication` is None when the value had not changed, or the write was a repeated
    one; `status` is None when watchers need not be told of one."""

    position: Position
    publication: Publication | None
    status: Status | None


class _Row:
    """A feed's columns while a batch is applied to them, under the row's lock."""

    __slots__ = ("digest", "epoch", "error", "last_ok_at", "next_poll_at", "offset", "rev", "state")

    def __init__(self, columns: tuple[Any, ...]) -> None:
        (
            self.epoch,
            self.offset,
            self.digest,
            self.state,
            self.rev,
            self.last_ok_at,
            self.next_poll_at,
            self.error,
        ) = columns

    def publish(self, write: Write, data: str, now: datetime) -> Publication | None:
        digest = digest_of(data)
        if digest == self.digest and not write.always:
            return None
        self.digest = digest
        self.offset += 1
        return Publication(write.feed_id, self.epoch, self.offset, now, data, write.info, write.tags)

    def set_health(self, health: Health, *, published: bool) -> Status | None:
        """Every write tells watchers something: an update, a status, or both if the state changed."""
        changed = (health.state, health.error[:500]) != (self.state, self.error)
        self.state, self.error = health.state, health.error[:500]
        self.last_ok_at, self.next_poll_at = health.last_ok_at, health.next_poll_at
        if published and not changed:
            return None
        self.rev += 1
        return Status(self.rev, health.state, self.last_ok_at, self.next_poll_at, self.error)


def commit(writes: Sequence[Write]) -> list[Written | NotFound]:
    """Record all writes in one transaction, in the order given; a feed that is gone fails alone.

    Feed rows are locked in one order, so concurrent batches cannot deadlock; offsets are allocated under the
    lock, so that they follow the order of commits. Announces nothing.
    """
    feed_ids = sorted({write.feed_id for write in writes})
    with transaction.atomic():
        rows = {
            columns[0]: _Row(columns[1:])
            for columns in Feed.objects.select_for_update()
            .filter(pk__in=feed_ids)
            .order_by("pk")
            .values_list(
                "pk",
                "epoch",
                "offset",
                "digest",
                "state",
                "status_rev",
                "last_ok_at",
                "next_poll_at",
                "error",
            )
        }
        now = timezone.now()
        keys = {(write.feed_id, write.key) for write in writes if write.key}
        made = find_made(keys, now) if keys else {}
        repeated = set(made)
        results = [_apply(rows, write, now, made) for write in writes]
        if made.keys() - repeated:
            keep_made({key: made[key] for key in made.keys() - repeated}, now)
        _insert([result.publication for result in results if isinstance(result, Written)], now)
        _save(rows)
    return results


def _apply(
    rows: dict[int, _Row], write: Write, now: datetime, made: dict[Key, Position]
) -> Written | NotFound:
    row = rows.get(write.feed_id)
    if row is None:
        return NotFound("This feed does not exist any more.")
    if write.key and (write.feed_id, write.key) in made:
        return Written(made[write.feed_id, write.key], None, None)
    publication = row.publish(write, write.data, now) if write.data is not None else None
    status = row.set_health(write.health, published=publication is not None) if write.health else None
    position = Position(row.epoch, row.offset)
    if write.key:
        made[write.feed_id, write.key] = position
    return Written(position, publication, status)


def _insert(publications: Sequence[Publication | None], now: datetime) -> None:
    """Write the entries, all of one time. With model instances and `bulk_create` it costs twice as much."""
    rows = [(p.feed_id, p.offset, p.data, p.info, p.tags) for p in publications if p is not None]
    if not rows:
        return
    quote = connection.ops.quote_name
    names = ("published_at", "feed_id", "offset", "data", "info", "tags")
    insert = f"INSERT INTO {quote(JournalEntry._meta.db_table)} ({', '.join(map(quote, names))})"
    at = JournalEntry._meta.get_field("published_at").get_db_prep_save(now, connection)
    if connection.vendor == "postgresql" and len(rows) > 1:
        arrays = "%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[]"
        columns = list(map(list, zip(*rows, strict=True)))
        _execute(f"{insert} SELECT %s, * FROM unnest({arrays})", [(at, *columns)])  # noqa: S608 - constants
    else:
        _execute(f"{insert} VALUES (%s, %s, %s, %s, %s, %s)", [(at, *row) for row in rows])


def _save(rows: dict[int, _Row]) -> None:
    """One prepared statement for all rows: Django's bulk_update costs ten times as much in SQL text."""
    columns = ("offset", "digest", "state", "status_rev", "last_ok_at", "next_poll_at", "error")
    quote = connection.ops.quote_name
    moments = Feed._meta.get_field("last_ok_at")
    assignments = ", ".join(f"{quote(column)} = %s" for column in columns)
    _execute(
        f"UPDATE {quote(Feed._meta.db_table)} SET {assignments} WHERE id = %s",  # noqa: S608 - constants
        [
            (
                row.offset,
                row.digest,
                row.state,
                row.rev,
                moments.get_db_prep_save(row.last_ok_at, connection),
                moments.get_db_prep_save(row.next_poll_at, connection),
                row.error,
                feed_id,
            )
            for feed_id, row in rows.items()
        ],
    )


def _execute(sql: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run it for each row. For a single one `executemany` would wait twice more for PostgreSQL's answers."""
    with connection.cursor() as cursor:
        if len(rows) == 1:
            cursor.execute(sql, rows[0])
        else:
            cursor.executemany(sql, rows)


def announcements(writes: Sequence[Write], results: Sequence[Written | NotFound]) -> list[Announcement]:
    """What to tell watchers of a committed batch: one announcement per feed, publications in order."""
    publications: dict[int, list[Publication]] = {}
    statuses: dict[int, Status] = {}
    for write, result in zip(writes, results, strict=True):
        if not isinstance(result, Written):
            continue
        if result.publication is not None:
            publications.setdefault(write.feed_id, []).append(result.publication)
        if result.status is not None:
            statuses[write.feed_id] = result.status
    return [
        Announcement(feed_id, tuple(publications.get(feed_id, ())), statuses.get(feed_id))
        for feed_id in publications.keys() | statuses.keys()
    ]


def publication_write(feed_id: int, value: Any, *, always: bool = False) -> Write:
    """A pushed value as a write that makes its feed fresh. Raises BadInput or TooLarge on `data`."""
    data = encode_data(value, limit_bytes=conf().value_limit_bytes)
    return Write(feed_id, data, Health("fresh", timezone.now(), None), always=always)


class Store:
    """Writes for one loop, committed together: all that wait share one thread hop and one transaction."""

    def __init__(self, database: Database, announce: Callable[[Announcement], None]) -> None:
        self._database = database
        self._announce = announce
        self._waiting: deque[tuple[Write, asyncio.Future[Written]]] = deque()
        self._flusher: asyncio.Task[None] | None = None

    async def publish(self, feed_id: int, value: Any, *, always: bool = False) -> Written:
        """Commit a value as the feed's newest publication, unless it equals the one before.

        always   then too

        Returns after the commit. Raises BadInput or TooLarge (field `data`), NotFound, Unavailable.
        """
        return await self.write(publication_write(feed_id, value, always=always))

    async def write(self, write: Write) -> Written:
        """Commit one write and announce it. Returns after the commit; raises NotFound or Unavailable."""
        if len(self._waiting) >= WAITING_LIMIT:
            raise Unavailable("Too many publications are waiting to be saved. Try again in a moment.")
        future: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        self._waiting.append((write, future))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush(), name="headwater store")
        return await future

    async def _flush(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_LIMIT))]
            writes = [write for write, _ in batch]
            try:
                results = await self._database.write(commit, writes)
            except HeadwaterError as error:
                self._fail(batch, error)
                continue
            except Exception:
                logger.exception("commit_failed writes=%d", len(writes))
                self._fail(batch, Unavailable("The publication could not be saved. Try again in a moment."))
                continue
            except asyncio.CancelledError:
                self._fail([*batch, *self._waiting], Unavailable("This process is going down. Try again."))
                self._waiting.clear()
                raise
            for announcement in announcements(writes, results):
                self._announce(announcement)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Written):
                    future.set_result(result)
                else:
                    future.set_exception(result)

    @staticmethod
    def _fail(batch: Sequence[tuple[Write, asyncio.Future[Written]]], error: HeadwaterError) -> None:
        for _, future in batch:
            if not future.done():
                future.set_exception(type(error)(error.message, field=error.field))

    async def aclose(self) -> None:
        """Commit what waits, then end."""
        if self._flusher is not None:
            await asyncio.gather(self._flusher, return_exceptions=True)
