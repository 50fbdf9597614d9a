"""The difference between two values in the delta format of Fossil (fossil-scm.org), which the SDKs apply.

What both have in common in front and at the end is found first. In between, blocks of 16 bytes of the base
are looked up at every place of the target and extended both ways.
"""

from __future__ import annotations

import struct

BLOCK = 16
# Less than this in common in front or at the end is not worth a copy.
EDGE = 8
# What bounds the work, whatever the values: blocks that are looked up, and copies of one delta.
BLOCKS_LIMIT = 4096
COPIES_LIMIT = 1000
# So many places looked up in vain, and the steps become wider by two: odd, so that they meet every alignment.
PATIENCE = 64

_DIGITS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"


def encode(base: bytes, target: bytes) -> bytes | None:
    """The delta that makes `target` of `base`; None when it would not be shorter than `target`.

    Inserted bytes begin and end where a character of UTF-8 does, so that the delta of two UTF-8 texts is such
    a text as well. The work is bounded by the sizes, not by their product.
    """
    size = len(target)
    if size <= BLOCK:
        return None
    copies = _copies(base, target)
    parts = [_number(size), b"\n"]
    done = 0
    for start, offset, length in copies if target.isascii() else _whole_characters(copies, target):
        if start > done:
            parts += (_number(start - done), b":", target[done:start])
        parts += (_number(length), b"@", _number(offset), b",")
        done = start + length
    if done < size:
        parts += (_number(size - done), b":", target[done:])
    parts += (_number(_checksum(target)), b";")
    delta = b"".join(parts)
    return delta if len(delta) < size else None


def _copies(base: bytes, target: bytes) -> list[tuple[int, int, int]]:
    """What of the target is in the base: `(place in the target, place in the base, length)`, in order."""
    shorter = min(len(base), len(target))
    head = _same_after(base, 0, target, 0, shorter)
    head = head if head >= EDGE else 0
    tail = _same_before(base, len(base), target, len(target), shorter - head)
    tail = tail if tail >= EDGE else 0
    end = len(target) - tail
    copies = [(0, 0, head)] if head else []
    at = done = head
    last = end - BLOCK
    blocks = _blocks(base, head, len(base) - tail) if at <= last else {}
    vain = 0
    while blocks and at <= last and len(copies) < COPIES_LIMIT:
        found = blocks.get(target[at : at + BLOCK])
        if found is None:
            vain += 1
            at += 1 + vain // PATIENCE * 2
            continue
        before = _same_before(base, found, target, at, min(found, at - done))
        one, other = found + BLOCK, at + BLOCK
        more = _same_after(base, one, target, other, min(len(base) - one, end - other))
        copies.append((at - before, found - before, before + BLOCK + more))
        at = done = other + more
        vain = 0
    if tail:
        copies.append((end, len(base) - tail, tail))
    return copies


def _blocks(base: bytes, start: int, end: int) -> dict[bytes, int]:
    every = max(BLOCK, -(-(end - start) // BLOCKS_LIMIT))
    return {base[at : at + BLOCK]: at for at in range(start, end - BLOCK + 1, every)}


def _same_after(a: bytes, i: int, b: bytes, j: int, limit: int) -> int:
    """How many bytes from `a[i]` and `b[j]` on are the same, at most `limit`."""
    same, step = 0, BLOCK
    while same < limit:
        step = min(step * 2, limit - same)
        one, other = a[i + same : i + same + step], b[j + same : j + same + step]
        if one != other:
            differing = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
            return same + step - (differing.bit_length() + 7) // 8
        same += step
    return same


def _same_before(a: bytes, i: int, b: bytes, j: int, limit: int) -> int:
    """How many bytes before `a[i]` and `b[j]` are the same, at most `limit`."""
    same, step = 0, BLOCK
    while same < limit:
        step = min(step * 2, limit - same)
        one, other = a[i - same - step : i - same], b[j - same - step : j - same]
        if one != other:
            differing = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
            return same + step - (differing.bit_length() + 7) // 8
        same += step
    return same


def _whole_characters(copies: list[tuple[int, int, int]], target: bytes) -> list[tuple[int, int, int]]:
    """The copies without the characters that they cut. In UTF-8 up to three bytes 10xxxxxx follow a first."""
    whole = []
    for start, offset, length in copies:
        end = start + length
        first = next((at for at in range(start, min(start + 3, end)) if target[at] & 0xC0 != 0x80), start + 3)
        while end > first and end < len(target) and target[end] & 0xC0 == 0x80 and start + length - end < 3:
            end -= 1
        if end > first:
            whole.append((first, offset + first - start, end - first))
    return whole


def _number(value: int) -> bytes:
    digits = bytearray()
    while True:
        digits.append(_DIGITS[value & 63])
        value >>= 6
        if not value:
            return bytes(digits[::-1])


def _checksum(data: bytes) -> int:
    """The sum of the big-endian 32-bit words, the last one filled up with zeros, modulo 2³²."""
    words = -(-len(data) // 4)
    total: int = sum(struct.unpack(f">{words}I", data.ljust(words * 4, b"\0")))
    return total & 0xFFFFFFFF
