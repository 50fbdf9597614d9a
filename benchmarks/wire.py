"""What a WebSocket client of the benchmarks reads: whole frames out of the bytes that came."""

from __future__ import annotations

from collections.abc import Iterator

PING, TEXT = 9, 1
PONG_FRAME = b"\x8a\x80\0\0\0\0"


def frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(opcode, start, end) of every whole frame's payload, in order. What is left begins at the last end.

    A server's frames: unfragmented and unmasked (RFC 6455, section 5.2).
    """
    at, end = 0, len(data)
    while end - at >= 2:
        size, head = data[at + 1] & 127, 2
        if size == 126:
            head = 4
        elif size == 127:
            head = 10
        if end - at < head:
            return
        if head > 2:
            size = int.from_bytes(data[at + 2 : at + head], "big")
        if end - at < head + size:
            return
        yield data[at] & 15, at + head, at + head + size
        at += head + size
