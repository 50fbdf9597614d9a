"""Rights end while streams go on: all who are inside are checked again, each principal once.

From time to time, and those of one user at once when its rights are said to have changed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from realtime.conf import conf
from realtime.errors import HeadwaterError, NotAllowed, NotSignedIn, Unavailable
from realtime.feeds.access import Principal, recheck
from realtime.feeds.demand import opener_of, resolve
from realtime.feeds.models import Feed
from realtime.feeds.runtime import Feeds, signal_now

from .watching import Want

PORTION = 100
# Every process hears in this group whose rights have changed.
GROUP = "patrol"
KIND = "rights"
USERS_AT_ONCE = 1_000
# How long the database is left alone after it could not be read.
RETRY_S = 0.5

# A principal as it is now with the live queries that it may still read, or that it is nobody any more.
_Now = tuple[Principal, frozenset[str]] | NotSignedIn
_Row = tuple[bool, str]  # whether a feed is public, and its kind


@dataclass(frozen=True, eq=False, slots=True)
class Visit:
    """One open stream. `lost` is called once, on the loop, when its principal may not read it any more."""

    principal: Principal
    wants: Sequence[Want]
    lost: Callable[[HeadwaterError], None]

    @property
    def user(self) -> str:
        """The user's key as text; empty for a visit that is no user's."""
        return str(self.principal.id) if self.principal.kind == "user" else ""


class Patrol:
    """Checks all visits of one loop every `conf().access_check_s` seconds."""

    def __init__(self, feeds: Feeds) -> None:
        self._database = feeds.database
        self._broker = feeds.broker
        self._visits: set[Visit] = set()
        # Users whose rights have changed since the round before the last: who enters now may have been let in
        # by those of before.
        self._changed: set[str] = set()
        self._changed_before: set[str] = set()
        self._suspects: set[Visit] = set()
        self._news = asyncio.Event()
        self._broker.hear(KIND, self._hear)

    @classmethod
    def of(cls, feeds: Feeds) -> Patrol:
        """The one of these feeds; its task ends with theirs."""
        patrol = feeds.part(cls)
        feeds.supervisor.spawn("access patrol", patrol.run)
        return patrol

    async def listen(self) -> None:
        """Hear whose rights change from now on: awaited before anybody enters, so that nothing is missed."""
        await self._broker.join_group(GROUP)

    def enter(self, visit: Visit) -> None:
        """Check this visit from now on."""
        self._visits.add(visit)
        if visit.user in self._changed or visit.user in self._changed_before:
            self._suspect([visit])

    def leave(self, visit: Visit) -> None:
        """Forget this visit. Idempotent."""
        self._visits.discard(visit)

    def _hear(self, signal: dict[str, Any]) -> None:
        users = set(signal["users"])
        self._changed |= users
        self._suspect([visit for visit in self._visits if visit.user in users])

    def _suspect(self, visits: Collection[Visit]) -> None:
        if visits:
            self._suspects.update(visits)
            self._news.set()

    async def run(self) -> None:
        """Go round for ever."""
        loop = asyncio.get_running_loop()
        due_at = loop.time() + conf().access_check_s
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due_at):
                    await self._news.wait()
            self._news.clear()
            suspects, self._suspects = self._suspects & self._visits, set()
            if loop.time() >= due_at:
                due_at = loop.time() + conf().access_check_s
                self._changed, self._changed_before = set(), self._changed
                await self.go_round()
            else:
                await self._check(suspects)

    async def go_round(self) -> None:
        """Check everybody once."""
        await self._check(self._visits)

    async def _check(self, visits: Iterable[Visit]) -> None:
        """Check these. While the database is away, rights stay as they were last known.

        Those for whom it could not be read are suspects again: a right that was lost is not forgotten.
        """
        by_principal: dict[Principal, list[Visit]] = {}
        for visit in visits:
            by_principal.setdefault(visit.principal, []).append(visit)
        for start in range(0, len(by_principal), PORTION):
            portion = dict(list(by_principal.items())[start : start + PORTION])
            try:
                now, feeds = await self._database.read(_look_again, portion)
            except Unavailable:
                self._suspect([visit for some in portion.values() for visit in some])
                await asyncio.sleep(RETRY_S)
                continue
            for principal, some in portion.items():
                for visit in some:
                    error = _what_is_wrong(visit, now[principal], feeds)
                    if error is not None and visit in self._visits:
                        self._visits.discard(visit)
                        visit.lost(error)


def _look_again(visits: Mapping[Principal, Sequence[Visit]]) -> tuple[dict[Principal, _Now], dict[int, _Row]]:
    """What has become of these principals, and of the feeds that they watch."""
    wanted = {principal: {w for visit in some for w in visit.wants} for principal, some in visits.items()}
    feed_ids = {want.feed_id for wants in wanted.values() for want in wants}
    rows = Feed.objects.filter(pk__in=feed_ids).order_by().values_list("pk", "public", "kind")
    feeds = {feed_id: (public, kind) for feed_id, public, kind in rows}
    now: dict[Principal, _Now] = {}
    for principal, wants in wanted.items():
        try:
            found = recheck(principal)
        except NotSignedIn as error:
            now[principal] = error
            continue
        slugs = {want.slug for want in wants if opener_of(want.slug) is not None}
        now[principal] = found, frozenset(slug for slug in slugs if _may_open(slug, found))
    return now, feeds


def _may_open(slug: str, principal: Principal) -> bool:
    try:
        resolve(slug, principal)
    except HeadwaterError:
        return False
    return True


def _what_is_wrong(visit: Visit, now: _Now, feeds: Mapping[int, _Row]) -> HeadwaterError | None:
    if isinstance(now, NotSignedIn):
        return now
    principal, opens = now
    for want in visit.wants:
        # A feed that is not there any more is the hub's to tell.
        public, kind = feeds.get(want.feed_id, (True, ""))
        if kind == Feed.Kind.QUERY:
            may = want.slug in opens
        else:
            may = principal.may_read(public=public, channel=kind == Feed.Kind.CHANNEL)
        if may:
            continue
        if principal.kind == "anonymous":
            return NotSignedIn(f"feed {want.slug}: sign in to read it.", field="feed")
        return NotAllowed(f"feed {want.slug}: you may not read it any more.", field="feed")
    return None


def rights_changed(users: Sequence[Any]) -> None:
    """Have all processes look at these users' streams at once. Sync: after the commit of what has changed."""
    for start in range(0, len(users), USERS_AT_ONCE):
        some = [str(user) for user in users[start : start + USERS_AT_ONCE]]
        signal_now(GROUP, {"kind": KIND, "users": some})
