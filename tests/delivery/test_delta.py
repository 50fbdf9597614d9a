"""`?delta=rows` at the plain doors: which updates say what changed, and which carry the value."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

import pytest

from realtime.delivery.frames import ByRows, Event, update_event, value_event
from realtime.feeds.models import JournalEntry
from realtime.feeds.publication import Publication, Snapshot, Status
from tests.delivery.applying import applied
from tests.delivery.conftest import House
from tests.delivery.test_rows import written
from tests.delivery.test_sse import Stream

TAGS = '{"key":"id"}'


def orders(*totals: int) -> list[dict[str, Any]]:
    return [
        {"id": number, "customer": f"Customer {number}", "total": total}
        for number, total in enumerate(totals)
    ]


FIRST, SECOND, THIRD = orders(10, 20, 30), orders(10, 25, 30), orders(10, 25)[::-1]


async def publish(house: House, *values: Any, slug: str = "orders", tags: str = TAGS) -> list[str]:
    return [await house.publish(slug, value, tags=tags) for value in values]


async def house_of_orders(house: House, *values: Any) -> list[str]:
    await house.add_feed("orders")
    return await publish(house, *values)


class Client:
    """Holds what it was told of one feed, and nothing before that."""

    def __init__(self) -> None:
        self.value: Any = None
        self.told: list[str] = []

    def take(self, message: dict[str, Any]) -> None:
        if message["type"] == "status":
            return
        assert ("data" in message) != ("rows" in message)
        if "rows" in message:
            self.value = applied(self.value, message["key"], message["rows"])
        else:
            self.value = message["data"]
        self.told.append(f"{message['type']} {'rows' if 'rows' in message else 'whole'}")


async def test_an_update_says_which_rows_it_changed(house: House) -> None:
    await house_of_orders(house, FIRST)
    socket = await house.connect("/ws/feeds/orders/?delta=rows")
    assert (await socket.read())["data"] == FIRST
    assert (await socket.read())["type"] == "status"
    positions = await publish(house, SECOND, THIRD)
    update = await socket.read()
    assert set(update) == {"type", "feed", "epoch", "offset", "published_at", "key", "rows"}
    assert f"{update['epoch']}:{update['offset']}" == positions[0]
    assert (update["type"], update["feed"], update["key"]) == ("update", "orders", ["id"])
    assert update["rows"] == {"changed": [SECOND[1]]}
    assert (await socket.read())["rows"] == {"removed": [2], "order": [[0, 1]]}


async def test_without_the_parameter_and_without_a_key_values_come_whole(house: House) -> None:
    await house_of_orders(house, FIRST)
    whole = await house.connect("/ws/feeds/orders/")
    assert await whole.read_values(1) == [FIRST]
    rows = await house.connect("/ws/feeds/orders/?delta=rows")
    assert await rows.read_values(1) == [FIRST]
    await publish(house, SECOND)
    await publish(house, FIRST, tags="")
    await publish(house, SECOND, tags='{"key":"customer,id"}')
    await publish(house, {"no": "list"}, FIRST)
    assert await whole.read_values(5) == [SECOND, FIRST, SECOND, {"no": "list"}, FIRST]
    told = Client()
    told.value = FIRST
    messages = [await rows.read() for _ in range(6)]
    for message in messages:
        told.take(message)
    assert told.told == ["update rows", "update whole", "update rows", "update whole", "update whole"]
    assert next(each for each in messages if each.get("offset") == 4)["key"] == ["customer", "id"]
    assert told.value == FIRST


@pytest.mark.parametrize("door", ["socket", "many", "stream"])
async def test_whoever_resumes_gets_the_first_value_whole_and_the_rest_as_rows(
    house: House, door: str
) -> None:
    since, *_ = await house_of_orders(house, FIRST, SECOND, THIRD, FIRST, SECOND)
    client = Client()
    if door == "stream":
        stream = Stream("/feeds/orders/events?delta=rows", (b"last-event-id", since.encode()))
        assert await stream.open() == 200
        for _ in range(5):
            client.take((await stream.event())[1])
        await publish(house, THIRD)
        client.take((await stream.event())[1])
        await stream.leave()
    else:
        path = f"/ws/feeds/orders/?since={since}" if door == "socket" else f"/ws/feeds/?feed=orders@{since}"
        socket = await house.connect(f"{path}&delta=rows")
        for _ in range(5):
            client.take(await socket.read())
        await publish(house, THIRD)
        client.take(await socket.read())
    assert client.told == ["update whole", *["update rows"] * 2, "update rows", "update rows"]
    assert client.value == THIRD


async def test_who_comes_with_the_newest_position_may_have_lost_its_value(house: House) -> None:
    since, *_ = await house_of_orders(house, FIRST)
    socket = await house.connect(f"/ws/feeds/orders/?since={since}&delta=rows")
    assert (await socket.read())["type"] == "status"
    await publish(house, SECOND, THIRD)
    client = Client()
    for _ in range(2):
        client.take(await socket.read())
    assert client.told == ["update whole", "update rows"]
    assert client.value == THIRD


async def test_each_of_many_feeds_has_rows_of_its_own(house: House) -> None:
    await house_of_orders(house, FIRST)
    await house.add_feed("other")
    await publish(house, THIRD, slug="other")
    socket = await house.connect("/ws/feeds/?feed=orders&feed=other@gone:7&delta=rows")
    clients = {"orders": Client(), "other": Client()}
    for _ in range(4):
        message = await socket.read()
        clients[message["feed"]].take(message)
    await publish(house, SECOND)
    await publish(house, SECOND, slug="other")
    for _ in range(2):
        message = await socket.read()
        clients[message["feed"]].take(message)
    assert [client.value for client in clients.values()] == [SECOND, SECOND]
    assert clients["orders"].told == ["snapshot whole", "update rows"]
    assert clients["other"].told == ["reset whole", "update rows"]


async def test_who_was_told_a_forgotten_value_gets_the_next_one_whole(house: House) -> None:
    await house_of_orders(house, FIRST)
    early = await house.connect("/ws/feeds/orders/?delta=rows")
    assert await early.read_values(1) == [FIRST]
    assert (await early.read())["type"] == "status"
    # As of a channel whose publications are past their age, while others hold the newest.
    await house.feeds.database.write(JournalEntry.objects.all().delete)
    late = await house.connect("/ws/feeds/orders/?delta=rows")
    assert await late.read_values(1) == [None]
    assert (await late.read())["type"] == "status"
    await publish(house, SECOND)
    assert (await early.read())["rows"] == {"changed": [SECOND[1]]}
    assert (await late.read())["data"] == SECOND


NOW = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = [orders(1, 2, 3, step) for step in range(10)]


def update(offset: int, epoch: str = "e") -> Event:
    publication = Publication(1, epoch, offset, NOW, written(VALUES[offset]), tags=TAGS)
    return update_event("orders", publication, written(VALUES[offset - 1]))


def reset(offset: int, epoch: str = "e") -> Event:
    status = Status(0, "fresh", None, None, "")
    return value_event("reset", Snapshot(1, "orders", epoch, offset, NOW, written(VALUES[offset]), status))


def is_rows(text: str) -> bool:
    return '"rows":{' in text


def test_rows_are_told_only_to_who_was_told_the_value_before() -> None:
    told = [reset(3), update(4), update(6), update(7), update(8, "f"), reset(2), update(3), update(3)]
    render = ByRows[str](attrgetter("plain"))
    assert [is_rows(render(event)) for event in told] == [
        *(False, True),
        *(False, True),  # behind a hole
        False,  # of another life
        *(False, True),
        False,  # twice
    ]


def test_a_skipped_value_is_no_base_and_what_took_its_place_is() -> None:
    render = ByRows[str](attrgetter("plain"))
    assert [is_rows(render(event)) for event in (reset(1), update(5).as_reset, update(6))] == [
        *(False, False, True)
    ]


def test_rows_are_encoded_once_for_everybody_in_every_form() -> None:
    changed = update(5)
    for form in ("plain", "frame", "sse"):
        renders = [ByRows[Any](attrgetter(form)) for _ in range(2)]
        told = []
        for render in renders:
            render(update(4))
            told.append(render(changed))
        assert told[0] is told[1]
        assert is_rows(told[0].decode("latin1") if isinstance(told[0], bytes) else told[0])


def test_rows_are_not_told_where_the_value_before_is_not_known() -> None:
    value = update(5).value
    assert isinstance(value, Publication)
    assert update_event("orders", value).as_rows is None
    assert update_event("orders", replace(value, tags=""), written(VALUES[4])).as_rows is None
    assert update(5).as_reset.as_rows is None
