"""Feeds that are opened on demand: one for all who ask, with the present value, wanted while watched."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from realtime.errors import BadInput, Conflict, HeadwaterError, NotFound, Unavailable
from realtime.feeds import demand, standing
from realtime.feeds.access import ANONYMOUS, Principal
from realtime.feeds.catalog import find_feeds, readable
from realtime.feeds.demand import ENGINES, WANTED_S, WANTED_SIGNAL, Opening, keep_wanted, name_with
from realtime.feeds.models import Demand, Feed
from realtime.feeds.runtime import Feeds, publish
from tests.on_demand import Shop, fail, feed_of, fill, row_of, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("shop")]

STAFF = Principal("user", 2, "staff", frozenset({"read", "publish", "manage"}))
NAME = "query:open?customer=42"
WANTED_FOR_A_WHILE = timedelta(seconds=5)  # it is time to want it again


async def are_there(feeds: Feeds, count: int) -> bool:
    return await feeds.database.read(Demand.objects.count) == count


async def exists(feeds: Feeds) -> bool:
    return await feed_of(feeds, NAME) is not None


async def is_wanted(feeds: Feeds) -> bool:
    return (await row_of(feeds, NAME)).wanted_until > timezone.now() + timedelta(seconds=WANTED_S / 2)


async def test_the_first_who_asks_waits_for_the_value_and_the_next_does_not(feeds: Feeds) -> None:
    filler = fill(feeds)
    ref = await Opening.of(feeds).open("query:open?page=1&customer=42", ANONYMOUS)
    assert (ref.slug, ref.kind, ref.public, ref.title) == (NAME, "query", True, "Orders: open")
    assert (ref.retention_count, ref.retention_age_s, ref.recovery) == (100, 300, "cache")
    row = await row_of(feeds, NAME)
    assert (row.base, row.kept, row.feed.offset) == (NAME, True, 1)
    assert row.wanted_until > timezone.now()
    assert await Opening.of(feeds).open(NAME, ANONYMOUS) == ref
    assert filler.filled == [NAME]


@pytest.mark.parametrize("names", [1, 100])
async def test_many_who_ask_at_once_cost_a_handful_of_statements(
    feeds: Feeds, shop: Shop, monkeypatch: pytest.MonkeyPatch, names: int
) -> None:
    statements: list[str] = []
    execute = CursorWrapper.execute

    def note(self: CursorWrapper, sql: str, params: Any = None) -> Any:
        statements.append(sql)
        return execute(self, sql, params)

    # In the first pause all are filled, and the second look is at all of them.
    monkeypatch.setattr(demand, "FIRST_PAUSE_S", 1.0)
    monkeypatch.setattr(demand, "LONGEST_PAUSE_S", 1.0)
    monkeypatch.setattr(CursorWrapper, "execute", note)
    opening = Opening.of(feeds)
    asked = [f"query:open?customer={number % names}" for number in range(1_000)]
    waiting = asyncio.gather(*(opening.open(name, ANONYMOUS) for name in asked))
    await until(lambda: are_there(feeds, names))
    later = timezone.now() + timedelta(hours=1)
    await feeds.database.write(lambda: Demand.objects.update(claimed_until=later, kept=True))
    assert [ref.slug for ref in await waiting] == asked
    verbs = Counter(sql.split()[0] for sql in statements if "COUNT" not in sql)
    assert verbs["INSERT"] <= 6, statements  # SQLite takes a thousand values at most
    assert verbs.total() < 30, statements
    assert len(shop.asked) <= 2 * names


async def test_no_more_are_wanted_than_may_be_and_those_that_are_go_on(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = standing.conf().model_copy(update={"queries_at_once": 1})
    monkeypatch.setattr(standing, "conf", lambda: few)
    fill(feeds)
    opening = Opening.of(feeds)
    first = await opening.open(NAME, ANONYMOUS)
    with pytest.raises(Unavailable, match="HEADWATER_QUERIES_AT_ONCE"):
        await opening.open("query:open?customer=43", ANONYMOUS)
    # Whoever watches already goes on, and what nobody watches any more makes room.
    await feeds.database.write(
        lambda: Demand.objects.update(wanted_until=timezone.now() + WANTED_FOR_A_WHILE)
    )
    assert await opening.open(NAME, ANONYMOUS) == first
    await feeds.database.write(lambda: Demand.objects.update(wanted_until=timezone.now()))
    assert (await opening.open("query:open?customer=43", ANONYMOUS)).slug == "query:open?customer=43"


async def test_the_present_value_is_waited_for_though_there_is_an_older_one(feeds: Feeds) -> None:
    values = iter(["old", "new"])
    fill(feeds, lambda slug: next(values))
    ref = await Opening.of(feeds).open(NAME, ANONYMOUS)
    long_ago = timezone.now() - timedelta(hours=1)
    await feeds.database.write(
        lambda: Demand.objects.update(wanted_until=long_ago, claimed_until=long_ago, engine="")
    )
    assert await Opening.of(feeds).open(NAME, ANONYMOUS) == ref
    assert (await row_of(feeds, NAME)).feed.offset == 2


async def test_without_an_engine_nobody_waits_for_ever_and_the_next_do_not_wait_at_all(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demand, "WANTED_AGAIN_S", 3_600)  # so long it holds that there is none
    monkeypatch.setattr(demand, "CLAIMED_WITHIN_S", 0.05)
    ref = await Opening.of(feeds).open(NAME, ANONYMOUS)
    feed = await feed_of(feeds, ref.slug)
    assert feed is not None
    assert (feed.offset, feed.state) == (0, "stale")
    monkeypatch.setattr(demand, "CLAIMED_WITHIN_S", 3_600)
    await asyncio.wait_for(Opening.of(feeds).open("query:open?customer=7", ANONYMOUS), 30)


async def test_an_evaluation_that_takes_long_is_not_waited_for_for_ever(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demand, "KEPT_WITHIN_S", 0.05)
    monkeypatch.setattr(demand, "CLAIMED_WITHIN_S", 3_600)
    opening = asyncio.create_task(Opening.of(feeds).open(NAME, ANONYMOUS))
    await until(lambda: exists(feeds))
    later = timezone.now() + timedelta(hours=1)
    await feeds.database.write(lambda: Demand.objects.update(engine="slow", claimed_until=later))
    assert (await asyncio.wait_for(opening, 30)).slug == NAME


async def test_one_that_fails_is_opened_at_once(feeds: Feeds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand, "CLAIMED_WITHIN_S", 0.05)
    ref = await Opening.of(feeds).open(NAME, ANONYMOUS)
    later = timezone.now() + timedelta(hours=1)
    await feeds.database.write(lambda: Demand.objects.update(engine="slow", claimed_until=later))
    await fail(feeds, ref.id, "no such column")
    monkeypatch.setattr(demand, "KEPT_WITHIN_S", 3_600)
    assert await asyncio.wait_for(Opening.of(feeds).open(NAME, ANONYMOUS), 30) == ref


async def test_unknown_unreadable_and_wrong_are_told_as_the_opener_tells_them(feeds: Feeds) -> None:
    opening = Opening.of(feeds)
    for name in ("query:nothing?customer=1", "query:sales?customer=1", "other:sales", "quotes"):
        with pytest.raises(NotFound, match="no feed of that name"):
            await opening.open(name, ANONYMOUS)
    with pytest.raises(BadInput) as wrong:
        await opening.open("query:open?customer=x", ANONYMOUS)
    assert wrong.value.field == "params.customer"
    with pytest.raises(BadInput, match=r"query:open\?customer=42$"):
        await opening.open("query:open?customer=42&page=1", ANONYMOUS, exact=True)
    assert not await feeds.database.read(Feed.objects.exists)


async def test_what_an_opener_fails_with_stays_here(feeds: Feeds, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(HeadwaterError) as failure:
        await Opening.of(feeds).open("query:broken", ANONYMOUS)
    assert "secret" not in failure.value.message
    assert "a secret of the server" in caplog.text


async def test_each_users_own_is_a_feed_of_its_own(feeds: Feeds) -> None:
    fill(feeds)
    users = await feeds.database.write(lambda: [User.objects.create_user(name) for name in ("mia", "max")])
    opening = Opening.of(feeds)
    refs = await asyncio.gather(
        *(
            opening.open("query:mine?customer=1", Principal("user", user.pk, "", frozenset({"read"})))
            for user in users
        )
    )
    assert [ref.slug for ref in refs] == [f"query:mine?customer=1&user={user.pk}" for user in users]


async def test_a_name_that_another_kind_of_feed_has_is_unknown(feeds: Feeds) -> None:
    await feeds.database.write(lambda: Feed.objects.create(slug=NAME, title=NAME, kind=Feed.Kind.CHANNEL))
    with pytest.raises(NotFound):
        await Opening.of(feeds).open(NAME, ANONYMOUS)


async def test_rows_of_an_earlier_declaration_say_what_the_present_one_does(feeds: Feeds) -> None:
    fill(feeds)
    await Opening.of(feeds).open(NAME, ANONYMOUS)
    await feeds.database.write(lambda: Feed.objects.update(title="Earlier", public=False))
    await feeds.database.write(lambda: Demand.objects.update(base="query:earlier"))
    ref = await Opening.of(feeds).open(NAME, ANONYMOUS)
    assert (ref.title, ref.public) == ("Orders: open", True)
    assert (await row_of(feeds, NAME)).base == NAME


async def test_nobody_reads_one_without_the_opener(feeds: Feeds) -> None:
    fill(feeds)
    await Opening.of(feeds).open(NAME, ANONYMOUS)
    found = await feeds.database.read(find_feeds, [NAME])
    for principal in (ANONYMOUS, STAFF):
        with pytest.raises(NotFound):
            readable(found[NAME], principal)


async def test_code_of_the_site_publishes_to_none(feeds: Feeds) -> None:
    fill(feeds)
    await Opening.of(feeds).open(NAME, ANONYMOUS)
    with pytest.raises(Conflict):
        await feeds.database.write(publish, NAME, 1)


async def test_what_is_watched_here_stays_wanted_and_nothing_else_costs_a_query(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(feeds)
    ref = await Opening.of(feeds).open(NAME, ANONYMOUS)
    past = timezone.now() - timedelta(hours=1)
    await feeds.database.write(lambda: Demand.objects.update(wanted_until=past))
    monkeypatch.setattr(demand, "WANTED_AGAIN_S", 0.01)
    writes: list[Any] = []
    looked = asyncio.Event()

    class Counted:
        async def write(self, unit: Any, *args: Any) -> Any:
            writes.append(args)
            return await feeds.database.write(unit, *args)

    watched: dict[int, str] = {ref.id + 1: "quotes", ref.id + 2: "chat:room"}

    def look() -> dict[int, str]:
        looked.set()
        return watched

    task = asyncio.create_task(keep_wanted(Counted(), look))  # type: ignore[arg-type]
    try:
        for _ in range(3):
            looked.clear()
            await asyncio.wait_for(looked.wait(), 30)
        assert writes == []
        watched[ref.id] = NAME
        await until(lambda: is_wanted(feeds))
        assert all(args[0] == [ref.id] for args in writes)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_engines_hear_at_once_of_what_is_not_kept(
    feeds: Feeds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demand, "CLAIMED_WITHIN_S", 0.05)
    heard = asyncio.Event()
    feeds.broker.hear(WANTED_SIGNAL, lambda _: heard.set())
    await feeds.broker.join_group(ENGINES)
    await Opening.of(feeds).open(NAME, ANONYMOUS)
    await asyncio.wait_for(heard.wait(), 30)


def test_parameters_in_an_address_stand_behind_those_of_the_name() -> None:
    assert name_with("query:open", []) == "query:open"
    assert (
        name_with("query:open", [("customer", "4 2&"), ("page", "")]) == "query:open?customer=4%202%26&page="
    )
    assert name_with("query:open?a=1#orders.html:0:12345678", [("b", "#")]) == (
        "query:open?a=1&b=%23#orders.html:0:12345678"
    )
