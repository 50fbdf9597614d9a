"""What is in channels: published once, in many, in batches; read and removed."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import cent
import pytest

from tests.serving import Server

from .asking import channel_publish, raw, refused
from .conftest import People


async def test_a_publication_reaches_clients_of_all_processes_with_its_tags(people: People) -> None:
    one, two = await people.back_end(0), await people.back_end(1)
    ana = await people.user(0, "ana")
    await ana.subscribe("news")
    first = await two.publish(channel_publish("news", {"n": 1}, tags={"by": "cent"}))
    encoded = base64.b64encode(b'["\xc3\xbc",  null]').decode()
    await one.publish(cent.PublishRequest(channel="news", data=None, b64data=encoded))
    third = await one.publish(channel_publish("news", {"n": 1}))
    assert (third.offset, third.epoch) == (first.offset + 2, first.epoch)
    await ana.until("publication", {"n": 1}, third.offset)
    assert [event[1:] for event in ana.kinds("publication")] == [
        ({"n": 1}, first.offset, {"by": "cent"}),
        (["ü", None], first.offset + 1, {}),
        ({"n": 1}, first.offset + 2, {}),
    ]


async def test_a_publication_with_a_key_is_made_once_on_whichever_process(people: People) -> None:
    back_ends = [await people.back_end(at) for at in (0, 1)]
    retries = [
        back_ends[number % 2].publish(channel_publish("once", number, idempotency_key="k"))
        for number in range(8)
    ]
    positions = {(result.offset, result.epoch) for result in await asyncio.gather(*retries)}
    assert len(positions) == 1
    other = await back_ends[0].publish(channel_publish("once", 9, idempotency_key="another"))
    assert other.offset == positions.pop()[0] + 1


async def test_what_cannot_be_published_is_refused_by_number_and_field(
    people: People, servers: list[Server]
) -> None:
    api = await people.back_end(0)
    assert (await refused(api.publish(channel_publish("nowhere:1", 1))))[0] == 102
    assert (await refused(api.publish(channel_publish("feed:none", 1))))[0] == 102
    assert (await refused(api.publish(channel_publish("ü", 1))))[0] == 107
    polled = {"slug": "polled", "url": "http://127.0.0.1:9/", "feeds": [{"slug": "polled"}]}
    await asyncio.to_thread(servers[0].call, "POST", "/sources", polled)
    code, message = await refused(api.publish(channel_publish("feed:polled", 1)))
    assert code == 107
    assert "source" in message
    assert "data" in (await refused(api.publish(cent.PublishRequest(channel="news", data=None))))[1]
    bad_text = base64.b64encode(b"not JSON").decode()
    for b64 in ("%%%", bad_text):
        code, message = await refused(
            api.publish(cent.PublishRequest(channel="news", data=None, b64data=b64))
        )
        assert code == 107
        assert "b64data" in message
    code, message = await refused(api.publish(channel_publish("news", "x" * 1_000_001)))
    assert code == 107
    assert "1,000,000" in message

    def post(body: bytes) -> Any:
        status, answer = raw(servers[0], "/api/publish", body, X_API_Key=servers[0].token)
        assert status == 200
        return answer["error"]

    assert post(b"{")["code"] == 107
    assert post(b"[1]")["code"] == 107
    assert "channel" in post(b'{"data": 1}')["message"]
    assert "tags" in post(b'{"channel": "news", "data": 1, "tags": {"a": 1}}')["message"]
    assert "speed" in post(b'{"channel": "news", "data": 1, "speed": 1}')["message"]


async def test_a_broadcast_fails_for_each_channel_alone(people: People) -> None:
    api = await people.back_end(0)
    done = await api.broadcast(cent.BroadcastRequest(channels=["b1", "nowhere:1", "b2"], data={"n": 1}))
    assert [each.error and each.error.code for each in done.responses] == [None, 102, None]
    assert [each.result and each.result.offset for each in done.responses] == [1, None, 1]


@pytest.mark.parametrize("parallel", [False, True])
async def test_a_batch_answers_each_command_in_its_place(
    people: People, servers: list[Server], parallel: bool
) -> None:
    api = await people.back_end(0)
    channel = f"batch-{parallel}"
    asked = [channel_publish(channel, 1), cent.PresenceStatsRequest(channel=channel)]
    done = await api.batch(cent.BatchRequest(requests=asked, parallel=parallel))
    assert [type(reply) for reply in done.replies] == [cent.PublishResult, cent.PresenceStatsResult]
    commands = [{"publish": {"channel": channel, "data": 2}}, {"publish": {}}, {"x": {}}, {}, {"info": {}}]
    body = json.dumps({"commands": commands, "parallel": parallel}).encode()
    _, answer = raw(servers[0], "/api/batch", body, X_API_Key=servers[0].token)
    replies = answer["replies"]
    assert replies[0]["publish"]["offset"] == 2
    assert [reply["error"]["code"] for reply in replies[1:4]] == [107, 104, 107]
    assert replies[4]["info"]["nodes"]


async def test_history_is_read_from_both_ends_and_removed(people: People) -> None:
    api = await people.back_end(0)
    assert (await api.history(cent.HistoryRequest(channel="past"))).publications == []
    for number in range(1, 4):
        top = await api.publish(channel_publish("past", number))

    async def read(**asked: Any) -> list[Any]:
        result = await api.history(cent.HistoryRequest(channel="past", **asked))
        assert (result.offset, result.epoch) == (3, top.epoch)
        return [publication.data for publication in result.publications]

    since = cent.StreamPosition(offset=2, epoch=top.epoch)
    assert await read() == []
    assert await read(limit=-1) == [1, 2, 3]
    assert await read(limit=2) == [1, 2]
    assert await read(limit=2, reverse=True) == [3, 2]
    assert await read(limit=-1, since=since) == [3]
    assert await read(limit=-1, since=since, reverse=True) == [1]
    elsewhere = cent.StreamPosition(offset=2, epoch="other")
    assert (await refused(api.history(cent.HistoryRequest(channel="past", limit=1, since=elsewhere))))[
        0
    ] == 112
    start = cent.StreamPosition(offset=0, epoch="")
    asked = cent.HistoryRequest(channel="past", limit=1, since=start, reverse=True)
    assert (await refused(api.history(asked)))[0] == 107
    await api.history_remove(cent.HistoryRemoveRequest(channel="past"))
    assert await read(limit=-1) == []
    assert (await api.publish(channel_publish("past", 4))).offset == 4
