"""Rights end while streams go on: all who are inside are checked again, each principal once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from realtime.conf import conf
from realtime.errors import HeadwaterError, NotAllowed, NotSignedIn, Unavailable
from realtime.feeds.access import Principal, recheck
from realtime.feeds.models import Feed
from realtime.feeds.runtime import Feeds

from .watching import Want

PORTION = 100


@dataclass(frozen=True, eq=False, slots=True)
class Visit:
    """One open stream. `lost` is called once, on the loop, when its principal may not read it any more."""

    principal: Principal
    wants: Sequence[Want]
    lost: Callable[[HeadwaterError], None]


class Patrol:
    """Checks all visits of one loop every `conf().access_check_s` seconds."""

    def __init__(self, feeds: Feeds) -> None:
        self._database = feeds.database
        self._visits: set[Visit] = set()

    @classmethod
    def of(cls, feeds: Feeds) -> Patrol:
        """The one of these feeds; its task ends with theirs."""
        patrol = feeds.part(cls)
        feeds.supervisor.spawn("access patrol", patrol.run)
        return patrol

    def enter(self, visit: Visit) -> None:
        """Check this visit from now on."""
        self._visits.add(visit)

    def leave(self, visit: Visit) -> None:
        """Forget this visit. Idempotent."""
        self._visits.discard(visit)

    async def run(self) -> None:
        """Go round for ever."""
        while True:
            await asyncio.sleep(conf().access_check_s)
            await self.go_round()

    async def go_round(self) -> None:
        """Check everybody once. While the database is away, rights stay as they were last known."""
        by_principal: dict[Principal, list[Visit]] = {}
        for visit in self._visits:
            by_principal.setdefault(visit.principal, []).append(visit)
        for start in range(0, len(by_principal), PORTION):
            portion = list(by_principal.items())[start : start + PORTION]
            visits = [visit for _, some in portion for visit in some]
            feed_ids = {want.feed_id for visit in visits for want in visit.wants}
            try:
                now, rows = await self._database.read(_look_again, [who for who, _ in portion], feed_ids)
            except Unavailable:
                return
            for visit in visits:
                error = _what_is_wrong(visit, now[visit.principal], rows)
                if error is not None and visit in self._visits:
                    self._visits.discard(visit)
                    visit.lost(error)


def _look_again(
    principals: Collection[Principal], feed_ids: Collection[int]
) -> tuple[dict[Principal, Principal | NotSignedIn], dict[int, tuple[bool, bool]]]:
    now: dict[Principal, Principal | NotSignedIn] = {}
    for principal in principals:
        try:
            now[principal] = recheck(principal)
        except NotSignedIn as error:
            now[principal] = error
    rows = Feed.objects.filter(pk__in=feed_ids).order_by().values_list("pk", "public", "kind")
    return now, {feed_id: (public, kind == Feed.Kind.CHANNEL) for feed_id, public, kind in rows}


def _what_is_wrong(
    visit: Visit, now: Principal | NotSignedIn, feeds: dict[int, tuple[bool, bool]]
) -> HeadwaterError | None:
    if isinstance(now, NotSignedIn):
        return now
    for want in visit.wants:
        # A feed that is not there any more is the hub's to tell.
        public, channel = feeds.get(want.feed_id, (True, False))
        if now.may_read(public=public, channel=channel):
            continue
        if now.kind == "anonymous":
            return NotSignedIn(f"feed {want.slug}: sign in to read it.", field="feed")
        return NotAllowed(f"feed {want.slug}: you may not read it any more.", field="feed")
    return None
