"""Keeps the queries true that somebody watches: claims them, hears changes, evaluates, publishes results.

Each engine has one. A query that is claimed is evaluated at once, then once for each burst of changes that
may affect it, and in any case at an interval. Whatever goes wrong in one is that query's failure: its feeds
keep their last value, watchers are told, and it is tried again after a back-off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from django.utils import timezone

from realtime.conf import conf
from realtime.errors import HeadwaterError, QueryFailed, QueryTooSlow, Unavailable
from realtime.feeds.database import Database
from realtime.feeds.demand import ENGINES, WANTED_SIGNAL
from realtime.feeds.runtime import Feeds

from .changes import Change
from .claims import CLAIM_S, Held, hold, needs_hold, release
from .evaluation import Evaluation, evaluate
from .hearing import Hearing
from .line import NEVER, Line
from .publishing import Publisher
from .readers import Readers

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
# Queries that take longer wait for each other, in a lane of their own.
QUICK_S = 0.5
RELEASE_TIMEOUT_S = 5.0
HEARING_PATIENCE_S = 5.0


class Evaluator:
    """Evaluates for one engine on one loop. `name` is the engine's, under which it claims."""

    def __init__(self, feeds: Feeds, *, name: str) -> None:
        self._feeds = feeds
        self._name = name
        self._lines: dict[str, Line] = {}
        self._readers: Readers[Line] = Readers()
        self._under_way: set[Line] = set()
        self._poked = asyncio.Event()
        self._hears = asyncio.Event()
        self._held_until = 0.0
        self._loop = feeds.loop
        self._quick = _Lane(conf().query_threads, min(QUICK_S, conf().query_limit_s))
        self._slow = _Lane(1, conf().query_limit_s)
        self._hearing = Hearing(feeds, self._hear)
        self._publisher = Publisher(feeds, name=name)

    async def run(self) -> None:
        """Keep queries true until cancelled; then let them go, for other engines."""
        broker = self._feeds.broker
        broker.hear(WANTED_SIGNAL, lambda _: self._poked.set())
        await broker.join_group(ENGINES)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._hearing.run(), name="headwater hearing of changes")
                self._tasks.create_task(self._publisher.keep_notes(), name="headwater notes of queries")
                self._tasks.create_task(self._keep_hold(), name="headwater claims of queries")
        finally:
            for line in self._lines.values():
                line.cancel_timer()
            self._lines.clear()
            self._readers = Readers()
            self._under_way.clear()
            await self._release()

    async def aclose(self) -> None:
        """Wait for the evaluations under way and end their threads. After `run`."""
        await self._quick.database.aclose()
        await self._slow.database.aclose()

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                # Else a result of ours could follow a newer one of the engine that claims next.
                await self._feeds.store.settled()
                await self._publisher.save_notes()
                await self._feeds.database.write(release, self._name)
        except (Unavailable, TimeoutError):
            logger.warning("queries_not_released")

    async def _keep_hold(self) -> None:
        """Hold what is wanted: look every second, and when somebody says that there is news."""
        with contextlib.suppress(TimeoutError):  # what is claimed before that would be evaluated twice
            async with asyncio.timeout(HEARING_PATIENCE_S):
                await self._hears.wait()
        while True:
            self._poked.clear()
            now, asked_at = timezone.now(), self._loop.time()
            try:
                # Past that, another engine may have what this one held.
                lost = bool(self._lines) and asked_at > self._held_until
                if lost or await self._feeds.database.read(needs_hold, self._name, now):
                    held, unwanted = await self._feeds.database.finish(hold, self._name, now)
                    self._held_until = asked_at + CLAIM_S
                    self._take(held)
                    if unwanted:
                        await self._publisher.pause(unwanted)
            except Unavailable:
                logger.warning("queries_not_claimed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._poked.wait()

    def _take(self, held: Sequence[Held]) -> None:
        by_base: defaultdict[str, dict[int, str]] = defaultdict(dict)
        for each in held:
            by_base[each.base][each.feed_id] = each.slug[len(each.base) + 1 :]
        last_ok_at = {each.feed_id: each.last_ok_at for each in held}
        claimed = {each.feed_id for each in held if each.is_new}
        for base in self._lines.keys() - by_base.keys():
            gone = self._lines.pop(base)
            gone.cancel_timer()
            self._readers.drop(gone)
        for base, feeds in by_base.items():
            line = self._lines.get(base)
            if line is None:
                line = self._lines[base] = Line(
                    base, first_s=conf().query_first_ms / 1000, sustained_s=conf().query_sustained_ms / 1000
                )
            if line.hold(feeds, last_ok_at, claimed):
                line.evaluate_at = self._loop.time()
                self._schedule(line)

    def _hear(self, changes: Sequence[Change]) -> None:
        self._hears.set()
        now = self._loop.time()
        concerned = {line for change in changes for line in self._readers.affected(change)}
        for line in concerned | self._under_way:
            if line.hear(changes, now):
                self._schedule(line)

    def _schedule(self, line: Line) -> None:
        line.cancel_timer()
        if line.due < NEVER:
            line.timer = self._loop.call_at(line.due, self._start, line)

    def _start(self, line: Line) -> None:
        run = self._run(line)
        try:
            self._tasks.create_task(run, name=f"headwater query {line.base}")
        except RuntimeError:  # the engine is ending: another one will evaluate it
            run.close()
            return
        line.pace.running = True
        self._under_way.add(line)

    async def _run(self, line: Line) -> None:
        lane = self._slow if line.slow else self._quick
        async with lane.turns:
            began = self._loop.time()
            line.started(began)
            result = await self._evaluate(line, lane)
            took_s = self._loop.time() - began
        line.slow = took_s > QUICK_S
        wait_s = conf().query_recheck_s * random.uniform(0.9, 1.1)  # noqa: S311 - spread, not a secret
        read = result.outcome.read if isinstance(result, Evaluation) else None
        if self._lines.get(line.base) is not line or self._loop.time() > self._held_until:
            read, wait_s = None, LOOK_EVERY_S  # somebody else's by now, or soon: nothing is told
        elif isinstance(result, QueryTooSlow) and lane is self._quick and lane.limit_s < self._slow.limit_s:
            line.slow, wait_s = True, 0.0  # once more, with all the time that it may have
        elif isinstance(result, HeadwaterError):
            wait_s = await self._publisher.fail(line, result, took_s=took_s)
        else:
            wait_s = await self._publish(line, result, wait_s, took_s=took_s)
        line.ended(read, self._loop.time())
        line.evaluate_at = self._loop.time() + wait_s
        self._under_way.discard(line)
        if self._lines.get(line.base) is line:
            if line.read is not None:
                self._readers.put(line, line.read.footprint)
            self._schedule(line)

    async def _evaluate(self, line: Line, lane: _Lane) -> Evaluation | HeadwaterError:
        shown = [block for block in line.feeds.values() if block]
        try:
            return await lane.database.read(
                partial(evaluate, line.base, shown, limit_s=lane.limit_s, before=line.read)
            )
        except HeadwaterError as error:
            return error
        except Exception as error:
            logger.exception("evaluation_broke query=%s", line.base)
            return QueryFailed("Headwater made a mistake with this query.", reason=repr(error))

    async def _publish(self, line: Line, evaluation: Evaluation, wait_s: float, *, took_s: float) -> float:
        """For how long the query needs no evaluation, unless something changes."""
        self._hearing.read(evaluation.outcome.footprint.keys())
        try:
            await self._publisher.publish(line, evaluation, took_s=took_s)
        except Unavailable:
            line.told.clear()
            return LOOK_EVERY_S
        # A block that somebody has asked for meanwhile is not filled yet.
        return 0.0 if line.untold else wait_s


class _Lane:
    """Threads for evaluations of a kind, and how long one may take there."""

    def __init__(self, threads: int, limit_s: float) -> None:
        self.turns = asyncio.Semaphore(threads)
        self.database = Database(threads=threads)
        self.limit_s = limit_s
