"""Live queries at the protocol's door: channels by their one true name, opened, recovered and taken back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from realtime.delivery.centrifuge.door import Door
from realtime.delivery.centrifuge.page_tokens import mint_page_token
from realtime.delivery.patrol import Patrol
from realtime.feeds import demand
from tests.delivery.conftest import House
from tests.on_demand import GROUP, fill, row_of

from .signing import signed, tokens
from .talking import Client, client, connected

pytestmark = pytest.mark.usefixtures("shop")

NAME = "query:open?customer=42"


async def publish(house: House, name: str, value: Any) -> None:
    await house.feeds.store.publish((await row_of(house.feeds, name)).feed_id, value)


async def subscribed(one: Client, channel: str, **params: Any) -> dict[str, Any]:
    reply = await one.ask("subscribe", channel=channel, **params)
    content: dict[str, Any] = reply["subscribe"]
    return content


async def test_who_subscribes_gets_the_present_value_and_every_change(house: House) -> None:
    fill(house.feeds, lambda slug: [])
    one = await connected(house)
    begun = await subscribed(one, NAME, recover=True, delta="fossil")
    assert [pub["data"] for pub in begun["publications"]] == ["[]"]
    rows = [{"id": number, "note": "x" * 50} for number in range(20)]
    await publish(house, NAME, rows)
    await publish(house, NAME, rows[:-1])
    first, second = (await one.read())["push"], (await one.read())["push"]
    assert (first["channel"], second["channel"]) == (NAME, NAME)
    assert second["pub"]["delta"]
    assert len(second["pub"]["data"]) < 100


async def test_who_comes_back_gets_the_newest_or_all_that_it_missed(house: House) -> None:
    fill(house.feeds, lambda slug: 1)
    one = await connected(house)
    begun = await subscribed(one, NAME)
    await one.ask("unsubscribe", channel=NAME)
    for value in (2, 3):
        await publish(house, NAME, value)
    asked = {"recover": True, "epoch": begun["epoch"], "offset": begun["offset"]}
    for data, values in ((None, [3]), ({"full": True}, [2, 3])):
        again = await subscribed(one, NAME, **asked, **({"data": data} if data else {}))
        assert again["recovered"]
        assert [pub["data"] for pub in again["publications"]] == values
        past = (await one.ask("history", channel=NAME, limit=-1))["history"]["publications"]
        assert [pub["data"] for pub in past] == [1, 2, 3]
        await one.ask("unsubscribe", channel=NAME)


@pytest.mark.parametrize("name", ["query:open?page=1&customer=42", "query:open?customer=42&page=1"])
async def test_any_other_spelling_is_refused_with_the_true_name(house: House, name: str) -> None:
    one = await connected(house)
    error = (await one.ask("subscribe", channel=name))["error"]
    assert error == {"code": 107, "message": f"channel: the name of this feed is {NAME}"}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("query:nothing", 102),
        ("query:sales?customer=1", 102),
        ("query:mine?customer=1", 102),
        ("query:open?customer=x", 107),
        ("$query:open?customer=42", 102),
        (f"feed:{NAME}", 102),
    ],
)
async def test_what_is_not_there_or_not_theirs_is_refused(house: House, name: str, code: int) -> None:
    fill(house.feeds)
    one = await connected(house)
    await subscribed(one, NAME)
    assert (await one.ask("subscribe", channel=name))["error"]["code"] == code


async def test_a_block_of_a_page_is_a_channel_of_its_own(house: House) -> None:
    fill(house.feeds)
    one = await connected(house)
    block = f"{NAME}#orders/list.html:0:0123abcd"
    begun = await subscribed(one, block, recover=True)
    assert [pub["data"] for pub in begun["publications"]] == [block]
    assert (await row_of(house.feeds, block)).base == NAME


async def test_nobody_publishes_to_one(house: House) -> None:
    fill(house.feeds)
    one = await connected(house)
    await subscribed(one, NAME)
    for name in (NAME, "query:nothing"):
        error = (await one.ask("publish", channel=name, data=1))["error"]
        assert (error["code"], "live query" in error["message"]) == (107, True)
    assert (await one.ask("presence", channel=NAME))["error"]["code"] == 108


async def test_a_subscription_token_opens_what_the_client_may_not(house: House) -> None:
    fill(house.feeds)
    Door.of(house.feeds).tokens = tokens()
    name = "query:sales?customer=1"
    one = await connected(house)
    token = signed("HS256", {"channel": name})
    assert "error" not in await one.ask("subscribe", channel=name, token=token)
    await Patrol.of(house.feeds).go_round()
    await publish(house, name, "goes on")
    assert (await one.read())["push"]["pub"]["data"] == "goes on"
    other = await client(house)
    reply = await other.ask("connect", token=signed("HS256", {"sub": "7", "channels": [name]}))
    assert name in reply["connect"]["subs"]


@pytest.mark.parametrize("how", ["first frame", "frame", "token"])
async def test_several_at_once_are_filled_side_by_side(
    house: House, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    all_wait = asyncio.Barrier(3)
    waited: set[int] = set()

    async def wait(self: demand.Opening, feed_id: int) -> None:
        if feed_id not in waited:
            waited.add(feed_id)
            await asyncio.wait_for(all_wait.wait(), 30)

    monkeypatch.setattr(demand.Opening, "_wait", wait)
    names = [f"query:open?customer={number}" for number in range(3)]
    asked = [{"id": 10 + n, "subscribe": {"channel": name}} for n, name in enumerate(names)]
    if how == "first frame":  # as npm's client has it
        one = await client(house)
        await one.tell({"id": 1, "connect": {}}, *asked)
        assert [(await one.read())["id"] for _ in range(4)] == [1, 10, 11, 12]
    elif how == "frame":
        one = await connected(house)
        await one.tell(*asked)
        assert [(await one.read())["id"] for _ in names] == [10, 11, 12]
    else:
        Door.of(house.feeds).tokens = tokens()
        one = await client(house)
        reply = await one.ask("connect", token=signed("HS256", {"sub": "7", "channels": names}))
        assert list(reply["connect"]["subs"]) == names


async def page_client(house: House, name: str, *, seller: bool) -> Client:
    def make() -> str:
        user = User.objects.create_user(name)
        if seller:
            group, _ = Group.objects.get_or_create(name=GROUP)
            # Past Django's signals: whoever's rights change while it is let in is told to come again.
            User.groups.through.objects.bulk_create([User.groups.through(user=user, group=group)])
        return mint_page_token(user)

    one = await client(house)
    reply = await one.ask("connect", token=await house.feeds.database.write(make))
    assert "connect" in reply
    return one


async def test_a_right_that_is_lost_ends_the_subscription_and_no_other(house: House) -> None:
    fill(house.feeds)
    name = "query:sales?customer=1"
    goes, stays = [await page_client(house, user, seller=True) for user in ("goes", "stays")]
    for one in (goes, stays):
        await subscribed(one, name)
        await subscribed(one, NAME)
    # Past Django's signals, as SQL would.
    through = User.groups.through
    await house.feeds.database.write(lambda: through.objects.filter(user__username="goes").delete())
    await Patrol.of(house.feeds).go_round()
    push = (await goes.read())["push"]
    assert (push["channel"], push["unsubscribe"]["code"]) == (name, 2000)
    await publish(house, name, 2)
    await publish(house, NAME, 3)
    assert (await goes.read())["push"]["channel"] == NAME
    assert [(await stays.read())["push"]["channel"] for _ in range(2)] == [name, NAME]
    assert (await goes.ask("subscribe", channel=name))["error"]["code"] == 102
