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

from django.db import transaction
from django.utils import timezone

from realtime.conf import conf
from realtime.errors import HeadwaterError, NotFound, Unavailable

from .announcement import Announcement
from .database import Database
from .feed_rows import Row, insert_entries, lock, save
from .idempotency import Key, find_made, keep_made
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


def commit(writes: Sequence[Write]) -> list[Written | NotFound]:
    """Record all writes in one transaction, in the order given; a feed that is gone fails alone.

    Feed rows are locked in one order, so concurrent batches cannot deadlock; offsets are allocated under the
    lock, so that they follow the order of commits. Announces nothing.
    """
    if not writes:
        return []
    feed_ids = sorted({write.feed_id for write in writes})
    with transaction.atomic():
        rows = lock(feed_ids)
        now = timezone.now()
        keys = {(write.feed_id, write.key) for write in writes if write.key}
        made = find_made(keys, now) if keys else {}
        repeated = set(made)
        results = [_apply(rows, write, now, made) for write in writes]
        if made.keys() - repeated:
            keep_made({key: made[key] for key in made.keys() - repeated}, now)
        insert_entries([result.publication for result in results if isinstance(result, Written)], now)
        save(rows)
    return results


def _apply(
    rows: dict[int, Row], write: Write, now: datetime, made: dict[Key, Position]
) -> Written | NotFound:
    row = rows.get(write.feed_id)
    if row is None:
        return NotFound("This feed does not exist any more.")
    if write.key and (write.feed_id, write.key) in made:
        return Written(made[write.feed_id, write.key], None, None)
    publication = _publish(row, write, write.data, now) if write.data is not None else None
    status = _set_health(row, write.health, published=publication is not None) if write.health else None
    position = Position(row.epoch, row.offset)
    if write.key:
        made[write.feed_id, write.key] = position
    return Written(position, publication, status)


def _publish(row: Row, write: Write, data: str, now: datetime) -> Publication | None:
    digest = digest_of(data)
    if digest == row.digest and not write.always:
        return None
    row.digest = digest
    row.offset += 1
    return Publication(write.feed_id, row.epoch, row.offset, now, data, write.info, write.tags)


def _set_health(row: Row, health: Health, *, published: bool) -> Status | None:
    """Every write tells watchers something: an update, a status, or both if the state changed."""
    changed = (health.state, health.error[:500]) != (row.state, row.error)
    row.state, row.error = health.state, health.error[:500]
    row.last_ok_at, row.next_poll_at = health.last_ok_at, health.next_poll_at
    if published and not changed:
        return None
    row.rev += 1
    return Status(row.rev, health.state, row.last_ok_at, row.next_poll_at, row.error)


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
        self._under_way: asyncio.Task[list[Written | NotFound]] | None = None

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
                self._under_way = asyncio.create_task(self._database.write(commit, writes))
                results = await self._under_way
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

    async def settled(self) -> None:
        """Return once nothing that its caller has given up can be committed any more.

        What still waits of it is dropped; what has begun is waited for. For whoever is about to let others
        write in its place.
        """
        self._waiting = deque(each for each in self._waiting if not each[1].done())
        if self._under_way is not None:
            await asyncio.wait({self._under_way})

    async def aclose(self) -> None:
        """Commit what waits, then end."""
        if self._flusher is not None:
            await asyncio.gather(self._flusher, return_exceptions=True)
