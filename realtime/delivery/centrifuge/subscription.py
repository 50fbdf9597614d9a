"""One channel of one client: how it joins, recovers, hears what comes, and ends."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from realtime.delivery.frames import Event
from realtime.delivery.patrol import Visit
from realtime.delivery.watching import Want, Watch
from realtime.feeds.channels import Channel, Rules
from realtime.feeds.models import Feed
from realtime.feeds.position import Position

from .codec import Raw
from .protocol import Disconnect, DisconnectCode, ErrorCode, ProtocolError, UnsubscribeCode
from .tokens import SubscribeOptions
from .wire import Form, Mode, form_of

if TYPE_CHECKING:
    from .session import Session

RECOVERY_LIMIT = 300
# Told while other channels of the same connect still begin.
COLLECTED_LIMIT = 2_000
# Of the values in one reply, as in one read of the journal. 300 of the largest size would be 300 MB.
RECOVERY_LIMIT_CHARACTERS = 8_000_000
REJECT_UNRECOVERED = 2  # a bit of the request's `flag`


class Subscription:
    """From the request to the end. While it starts, all that is told is collected, so that nothing can leave
    before its reply.

    form          how every change is written from now on; None while one may have to be looked at
    full          the client wants all that Headwater knows: of cached feeds too whatever was missed, when
                  each value was published, and how well the feed is
    options       of the token that allows it, or of the server that wants it
    by_right      it is allowed by the client's right to read the feed, which may end
    server_side   the server subscribed, not the client
    expires_at    when it ends unless it is refreshed (seconds since 1970); None: never
    """

    __slots__ = (
        *("by_right", "channel", "collected", "data", "delta", "expires_at", "form", "full", "info"),
        *("join_leave", "rules", "server_side", "visit", "_collected_characters", "_session"),
        *("_usual", "_watch", "_whole"),
    )

    def __init__(
        self,
        session: Session,
        channel: Channel,
        request: Mapping[str, Any],
        options: SubscribeOptions | None = None,
        *,
        expires_at: float | None = None,
        by_right: bool = False,
        server_side: bool = False,
    ) -> None:
        options = options or SubscribeOptions()
        self._session = session
        self.channel = channel
        self.rules = rules = _overridden(channel.rules, options.override)
        self.info = options.info
        self.data = options.data
        self.expires_at = expires_at
        self.by_right = by_right
        self.server_side = server_side
        self.delta = bool(request.get("delta")) and rules.delta
        self.join_leave = rules.join_leave == "forced" or (
            rules.join_leave == "asked" and bool(request.get("join_leave")) and rules.presence
        )
        self.full = wants_all(request.get("data"))
        self.collected: list[Event] | None = []
        self._usual = form_of(session.wire, Mode.DELTA if self.delta else Mode.PLAIN, dated=self.full)
        self._whole = self.delta
        self.form: Form | None = None
        self._collected_characters = 0
        self._watch: Watch | None = None
        self.visit: Visit | None = None  # of the patrol, while it goes on by right

    async def start(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Join and recover; the reply's content. `go_live` must follow in the same turn of the loop.

        Raises ProtocolError (unknown channel, unrecoverable position, ended meanwhile) and Unavailable.
        """
        feed, rules = self.channel.feed, self.rules
        recover = bool(request.get("recover"))
        asked = Position(request.get("epoch", ""), request.get("offset", 0)) if recover else None
        cached = rules.mode == "cache" and not self.full
        reach = min(RECOVERY_LIMIT, rules.history_size)
        want = Want(feed.id, feed.slug, None if cached else asked, feed.latest_only, reach)
        self._watch = await self._session.delivery.watch([want], self._session)
        self._session.check(self)
        told, self.collected = self.collected or [], []
        too_much, self._collected_characters = self._collected_characters > RECOVERY_LIMIT_CHARACTERS, 0
        start = _Start(told)
        if start.gone:
            raise ProtocolError(ErrorCode.UNKNOWN_CHANNEL)
        result = self._agreed(request)
        if not cached and asked is not None and not too_much and start.recovers(rules.history_age_s):
            epoch = asked.epoch or self._session.delivery.epoch(feed.id)
            result |= {"recovered": True, "epoch": epoch, "offset": asked.offset}
            self._list(result, start.updates)
        elif cached or self.full:
            self._answer_with_newest(result, start, asked, cached=cached)
        else:
            if recover and request.get("flag", 0) & REJECT_UNRECOVERED:
                raise ProtocolError(ErrorCode.UNRECOVERABLE_POSITION)
            result |= {"epoch": start.position.epoch, "offset": start.position.offset}
            self.collected += start.coming
        if self.data is not None:
            result["data"] = self.data
        elif self.full and start.status is not None:
            result["data"] = Raw(start.status.plain)
        return result

    def _agreed(self, request: Mapping[str, Any]) -> dict[str, Any]:
        recover = bool(request.get("recover"))
        recoverable = recover or request.get("recoverable") or self.rules.recovery == "forced"
        return {
            "delta": self.delta,
            "recoverable": bool(recoverable),
            "positioned": bool(recoverable or request.get("positioned")),
            "was_recovering": recover,
        }

    def _answer_with_newest(
        self, result: dict[str, Any], start: _Start, asked: Position | None, *, cached: bool
    ) -> None:
        newest = start.updates[-1] if start.updates else start.base
        assert newest is not None
        assert newest.position is not None
        epoch, offset = newest.position.epoch, newest.position.offset
        result |= {"epoch": epoch, "offset": offset}
        at_top = asked is not None and asked.epoch in ("", epoch) and asked.offset == offset and offset > 0
        if not at_top and self._may_show(newest):
            self._list(result, [newest])
        if cached and asked is not None and offset:
            result["recovered"] = True

    def _may_show(self, newest: Event) -> bool:
        """Whether there is a value: a channel's past is forgotten with its age, its newest value too."""
        value = newest.value
        if value is None or value.published_at is None:
            return False
        is_channel = self.channel.feed.kind == Feed.Kind.CHANNEL
        return not is_channel or value.published_at.timestamp() > time.time() - self.rules.history_age_s

    def _list(self, result: dict[str, Any], events: list[Event]) -> None:
        """The first whole, each later one against the one before it."""
        if events:
            result["publications"] = [self.form_for(event).listed(event) for event in events]

    def go_live(self) -> None:
        """The reply is written: tell what came meanwhile, and from now on at once."""
        told, self.collected = self.collected or [], None
        if not self._whole:
            self.form = self._usual
        if told:
            self._session.deliver(*told)

    def takes(self, event: Event) -> bool:
        """Whether this event is for the client now. A stream that was reborn or is gone ends here."""
        if self.collected is not None:
            self._collect(self.collected, event)
            return False
        if event.kind == "update":
            return True
        if event.kind == "status":
            return self.full
        self._session.lose(
            self, UnsubscribeCode.SERVER if event.kind == "gone" else UnsubscribeCode.INSUFFICIENT_STATE
        )
        return False

    def _collect(self, collected: list[Event], event: Event) -> None:
        """Keep an event for the reply, or for after it, while it waits for those of other channels.

        Past the limit, the newest value takes the place of all before it, as long as none is replied.
        """
        if event.value is not None:
            self._collected_characters += len(event.value.data)
        too_much = self._collected_characters > RECOVERY_LIMIT_CHARACTERS
        if self._watch is None and too_much and event.value is not None:
            collected[:] = [each for each in collected if each.value is None]
        if (self._watch is None or not too_much) and len(collected) < COLLECTED_LIMIT:
            collected.append(event)
        else:
            self._session.close(Disconnect(DisconnectCode.INSUFFICIENT_STATE))

    def form_for(self, event: Event) -> Form:
        """How the next publication is written: where a delta was agreed, the first one whole."""
        if not self._whole and (event.kind == "update" or not self.delta):
            return self._usual
        self._whole = False
        if self.collected is None:
            self.form = self._usual
        return form_of(self._session.wire, Mode.WHOLE, dated=self.full)

    def leave(self) -> None:
        """Hear nothing more. Idempotent; not while the hub delivers."""
        if self._watch is not None:
            self._watch.leave()


class _Start:
    """What the hub told at the beginning: a value to start from or what was missed, then a status."""

    def __init__(self, told: list[Event]) -> None:
        self.base: Event | None = None
        self.updates: list[Event] = []
        self.status: Event | None = None
        self.gone = False
        for event in told:
            if event.kind == "gone":
                self.gone = True
            elif event.kind == "status":
                self.status = event
            elif event.kind == "update":
                self.updates.append(event)
            else:
                self.base, self.updates = event, []

    @property
    def position(self) -> Position:
        """Where a client stands that recovers nothing."""
        standing = self.base or self.updates[-1]  # without a value, all updates are too old to be shown
        assert standing.position is not None
        return standing.position

    @property
    def coming(self) -> list[Event]:
        """What follows that position."""
        return self.updates if self.base is not None else []

    def recovers(self, age_s: float) -> bool:
        """Whether everything since the position asked for is here, and young enough to be shown."""
        if self.base is not None:
            return False
        if not self.updates:
            return True
        oldest = self.updates[0].value
        return (
            oldest is not None
            and oldest.published_at is not None
            and oldest.published_at.timestamp() > time.time() - age_s
        )


def _overridden(rules: Rules, override: Mapping[str, bool]) -> Rules:
    """A channel's rules with what a token says otherwise."""
    changes: dict[str, Any] = {}
    if "presence" in override:
        changes["presence"] = override["presence"]
    if "join_leave" in override and rules.join_leave != "forced":
        changes["join_leave"] = "asked" if override["join_leave"] else "off"
    if "force_push_join_leave" in override:
        changes["join_leave"] = "forced" if override["force_push_join_leave"] else "off"
    if "force_recovery" in override:
        changes["recovery"] = "forced" if override["force_recovery"] else "asked"
    if changes.get("join_leave") == "asked":
        changes.setdefault("presence", True)
    return replace(rules, **changes) if changes else rules


def wants_all(data: object) -> bool:
    """Whether the request's data asks for it: `{"full": true}`."""
    try:
        options = json.loads(data) if isinstance(data, str) else None
    except ValueError:
        return False
    return isinstance(options, dict) and options.get("full") is True
