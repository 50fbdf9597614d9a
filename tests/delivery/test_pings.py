"""A pong that repeats nothing is taken without autobahn's parser, wherever that makes no difference."""

from __future__ import annotations

import pytest

from realtime.delivery.daphne import Socket
from realtime.delivery.serve import HeadwaterServer
from tests.delivery.test_handshakes import HANDSHAKE, Client, until
from tests.delivery.test_handshakes import server as server  # a fixture, in this process

MASK = b"\1\2\3\4"
PONG = b"\x8a\x80" + MASK
PING = b'{"type":"ping"}'


def masked(payload: bytes, *, head: int = 0x81) -> bytes:
    """A client's frame: of text and complete, unless `head` says otherwise."""
    return bytes((head, 0x80 | len(payload))) + MASK + xor(payload)


def xor(payload: bytes) -> bytes:
    """What the mask makes of a payload, in either direction."""
    return bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


MESSAGE = masked(PING)
# A message in two frames, and a frame whose payload looks like a pong on the wire.
FIRST, LAST = masked(PING[:5], head=0x01), masked(PING[5:], head=0x80)
LOOKS_LIKE = masked(xor(PONG), head=0x82)
# Its length, 0x8A80, and its mask look like a pong.
LONG = b"\x82\xfe" + PONG + MASK * (0x8A80 // 4)

# How the bytes come, which pieces the parser is spared, and the messages that come of it.
WAYS = {
    "alone": ([PONG], [0], []),
    "several in a row": ([PONG, PONG, MESSAGE, PONG], [0, 1, 3], [PING]),
    "in two pieces": ([PONG[:3], PONG[3:], PONG], [2], []),
    "one byte first": ([PONG[:1], PONG[1:], MESSAGE], [], [PING]),
    "two in one piece": ([PONG * 2, MESSAGE], [], [PING]),
    "before a message in one piece": ([PONG + MESSAGE], [], [PING]),
    "between the frames of a message": ([FIRST, PONG, LAST], [1], [PING]),
    "with the frames around it": ([FIRST + PONG, LAST], [], [PING]),
    "in the middle of a frame's head": ([MESSAGE[:1], MESSAGE[1:], PONG], [2], [PING]),
    "as the payload of a frame": ([LOOKS_LIKE[:6], LOOKS_LIKE[6:]], [], [xor(PONG)]),
    "as the rest of a frame's head": ([LONG[:2], LONG[2:8], LONG[8:]], [], [bytes(0x8A80)]),
    "with a payload of its own": ([masked(b"ab", head=0x8A), MESSAGE], [], [PING]),
}


async def opened(server: HeadwaterServer) -> Socket:
    """The server's end of a new WebSocket."""
    client = Client(server)
    client.send(HANDSHAKE)
    await until(lambda: client.status == "101")
    (protocol,) = (each for each in server.connections if isinstance(each, Socket))
    return protocol


@pytest.mark.parametrize("way", WAYS)
async def test_the_parser_is_spared_a_pong_and_nothing_else(
    server: HeadwaterServer, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    pieces, spared, messages = WAYS[way]
    parsed: list[bytes] = []
    heard: list[bytes] = []
    protocol = await opened(server)
    parse = Socket._dataReceived
    monkeypatch.setattr(Socket, "_dataReceived", lambda self, data: (parsed.append(data), parse(self, data)))
    monkeypatch.setattr(Socket, "onMessage", lambda self, payload, binary: heard.append(payload))
    for number, piece in enumerate(pieces):
        protocol.heard = False
        protocol.dataReceived(piece)
        assert protocol.heard
        assert (piece in parsed) is (number not in spared)
        parsed.clear()
    assert heard == messages
    assert protocol.state == Socket.STATE_OPEN


async def test_what_comes_before_and_after_the_open_time_is_left_to_the_parser(
    server: HeadwaterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = await opened(server)
    parsed: list[bytes] = []
    monkeypatch.setattr(Socket, "_dataReceived", lambda self, data: parsed.append(data))
    for state in (Socket.STATE_CONNECTING, Socket.STATE_CLOSING, Socket.STATE_CLOSED):
        protocol.state = state
        protocol.dataReceived(PONG)
    assert parsed == [PONG] * 3
