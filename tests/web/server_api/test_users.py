"""Who is in channels, and what is done to them, on whichever process they are."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from functools import partial
from typing import Any

import cent

from tests.serving import Server, Template

from .asking import channel_publish, refused
from .conftest import People


async def until(ask: Any, wanted: Any) -> None:
    async with asyncio.timeout(30):
        while not wanted(await ask()):  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.05)


async def nodes_of(api: Any) -> Any:
    return (await api.info(cent.InfoRequest())).nodes


async def test_users_are_seen_and_counted_on_all_processes(people: People, servers: list[Server]) -> None:
    one, two = await people.back_end(0), await people.back_end(1)
    for api in (one, two):
        await until(partial(nodes_of, api), lambda found: len(found) == len(servers))
    ana, also_ana, bob = [
        await people.user(at, name, info={"at": at}) for at, name in ((0, "ana"), (1, "ana"), (1, "bob"))
    ]
    for client in (ana, also_ana, bob):
        await client.subscribe("room")
    for api in (one, two):
        there = (await api.presence(cent.PresenceRequest(channel="room"))).presence
        assert {(each.client, each.user, each.conn_info["at"]) for each in there.values()} == {
            (ana.id, "ana", 0),
            (also_ana.id, "ana", 1),
            (bob.id, "bob", 1),
        }
        stats = await api.presence_stats(cent.PresenceStatsRequest(channel="room"))
        assert (stats.num_clients, stats.num_users) == (3, 2)
        found = await api.channels(cent.ChannelsRequest(pattern="roo*"))
        assert {name: each.num_clients for name, each in found.channels.items()} == {"room": 3}
        assert len({node.uid for node in await nodes_of(api)}) == len(servers)
    assert (await refused(one.presence(cent.PresenceRequest(channel="quiet:1"))))[0] == 108
    assert (await refused(one.channels(cent.ChannelsRequest(pattern="{a,b}"))))[0] == 107
    await until(partial(nodes_of, two), lambda found: sorted(node.num_clients for node in found) == [1, 2])
    await bob.sdk.disconnect()

    async def stats_now() -> Any:
        return await one.presence_stats(cent.PresenceStatsRequest(channel="room"))

    await until(stats_now, lambda stats: (stats.num_clients, stats.num_users) == (2, 1))


async def test_joins_and_leaves_cross_processes(people: People) -> None:
    ana, bob = await people.user(0, "ana"), await people.user(1, "bob")
    await ana.subscribe("hall")
    await ana.until("join", "ana")
    await bob.subscribe("hall")
    await bob.until("join", "bob")
    await ana.until("join", "bob")
    await bob.sdk.disconnect()
    await ana.until("leave", "bob")
    assert ana.kinds("join", "leave") == [
        ("join", "ana", None),
        ("join", "bob", None),
        ("leave", "bob", None),
    ]


async def test_a_user_is_subscribed_by_the_server_wherever_connected_and_unsubscribed(people: People) -> None:
    api = await people.back_end(0)
    here, there, bob = await people.user(0, "ana"), await people.user(1, "ana"), await people.user(1, "bob")
    before = await api.publish(channel_publish("alerts", "before"))
    since = cent.StreamPosition(offset=before.offset - 1, epoch=before.epoch)
    request = cent.SubscribeRequest(
        user="ana", channel="alerts", info={"role": "guest"}, data={"hello": 1}, recover_since=since
    )
    await api.subscribe(request)
    for client in (here, there):
        await client.until("subscribed", "alerts", {"hello": 1})
        await client.until("publication", "before")
    await api.publish(channel_publish("alerts", "after"))
    for client in (here, there):
        await client.until("publication", "after")
        await client.until("join", "ana", {"role": "guest"})
    await api.unsubscribe(cent.UnsubscribeRequest(user="ana", channel="alerts", client=there.id))
    await there.until("unsubscribed", "alerts")
    await api.publish(channel_publish("alerts", "last"))
    await here.until("publication", "last")
    assert [event[1] for event in there.kinds("publication")] == ["before", "after"]
    assert here.kinds("unsubscribed") == []
    assert bob.kinds("subscribed", "publication") == []


async def test_subscriptions_to_what_does_not_exist_or_with_rules_of_their_own_are_refused(
    people: People,
) -> None:
    api = await people.back_end(0)
    ask = cent.SubscribeRequest
    assert (await refused(api.subscribe(ask(user="ana", channel="nowhere:1"))))[0] == 102
    assert (await refused(api.subscribe(ask(user="ana", channel="feed:none"))))[0] == 102
    override = cent.ChannelOptionsOverride(presence=cent.BoolValue(value=False))
    assert (await refused(api.subscribe(ask(user="ana", channel="news", override=override))))[0] == 108
    assert (await refused(api.unsubscribe(cent.UnsubscribeRequest(user="ana", channel="nowhere:1"))))[
        0
    ] == 102
    assert (await refused(api.disconnect(cent.DisconnectRequest(user=""))))[0] == 107


async def test_a_user_is_disconnected_on_all_processes_but_for_whom_is_kept(people: People) -> None:
    api = await people.back_end(0)
    here, there, kept, bob = [
        await people.user(at, name) for at, name in ((0, "ana"), (1, "ana"), (1, "ana"), (1, "bob"))
    ]
    await api.disconnect(cent.DisconnectRequest(user="ana", whitelist=[kept.id]))
    for client in (here, there):
        assert (await client.until("disconnected"))[1] == 3503
    farewell = cent.Disconnect(code=4501, reason="bye")
    await api.disconnect(cent.DisconnectRequest(user="ana", disconnect=farewell))
    assert (await kept.until("disconnected"))[1:] == (4501, "bye")
    assert bob.kinds("disconnected") == []
    bad = cent.DisconnectRequest(user="ana", disconnect=cent.Disconnect(code=1000, reason="x"))
    assert (await refused(api.disconnect(bad)))[0] == 107


async def test_a_refreshed_connection_expires_when_it_is_told_to(people: People) -> None:
    api = await people.back_end(0)
    ana = await people.user(1, "ana")
    await api.refresh(cent.RefreshRequest(user="ana", expire_at=int(time.time()) + 3600))
    await api.refresh(cent.RefreshRequest(user="ana", client="another", expired=True))
    await api.refresh(cent.RefreshRequest(user="ana", client=ana.id, expired=True))
    await ana.until("connecting", 3005)
    await ana.when(lambda event: event[0] == "connected" and event[1] == ana.id)
    assert ana.kinds("disconnected") == []


async def test_signing_out_on_one_process_ends_connections_on_the_other(
    people: People, servers: list[Server], serving_template: Template
) -> None:
    """And other rights make them come back."""
    ana, bob = await people.user(1, "1"), await people.user(1, "2")
    cookie = f"sessionid={serving_template.session}; csrftoken={'c' * 32}"
    request = urllib.request.Request(
        f"{servers[0].url}/logout/",
        data=b"",
        headers={"Cookie": cookie, "X-CSRFToken": "c" * 32, "Referer": servers[0].url},
        method="POST",
    )
    await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=30).close())
    assert (await ana.until("disconnected"))[1] == 3503
    assert bob.kinds("disconnected", "connecting") == bob.kinds("connecting")[:1]
    again = await people.user(1, "1")
    change = "from django.contrib.auth.models import User; u = User.objects.get(pk=1)"
    await asyncio.to_thread(
        servers[0].manage, "shell", "-v", "0", "-c", f"{change}; u.is_staff = False; u.save()"
    )
    await again.until("connecting", 3011)
    assert again.kinds("disconnected") == []
