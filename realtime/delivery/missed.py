"""What watchers missed, as finished events, for all who come back at the same time.

Clients of one dead server stood at many different positions. One read of the journal serves all whose
position lies within it, and each publication is encoded once for all of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from realtime.feeds import journal

from .frames import Event, update_event

PAGE = 200
# Characters of values after which a load begins no further read: whoever is left out asks again.
LOAD_LIMIT_CHARACTERS = 8_000_000


class After(NamedTuple):
    """Where somebody stands: everything above `offset` is missed."""

    feed_id: int
    slug: str
    epoch: str
    offset: int


def load_missed(asked: Sequence[After]) -> dict[After, list[Event]]:
    """At most `PAGE` events after each position, oldest first: empty when the journal has none.

    All positions of a feed that lie within one page are answered by one read. Once the values read pass the
    limit of one load, positions are left out, the first one never.
    """
    offsets_of: dict[tuple[int, str, str], list[int]] = {}
    for after in sorted(asked):
        offsets_of.setdefault(after[:3], []).append(after.offset)
    found: dict[After, list[Event]] = {}
    room = LOAD_LIMIT_CHARACTERS
    for after in asked:
        if after in found:
            continue
        if room <= 0:
            break
        feed_id, slug, epoch, offset = after
        offsets = offsets_of[feed_id, slug, epoch]
        # From the lowest position whose page still reaches this one.
        first = bisect_right(offsets, offset - PAGE)
        page = journal.entries_after(feed_id, epoch, offsets[first], PAGE)
        room -= sum(len(publication.data) for publication in page)
        befores = [None, *(publication.data for publication in page)]
        events = [update_event(slug, *each) for each in zip(page, befores, strict=False)]
        tops = [publication.offset for publication in page]
        for each in offsets[first : bisect_left(offsets, offsets[first] + PAGE)]:
            found[After(feed_id, slug, epoch, each)] = events[bisect_right(tops, each) :]
    return found
