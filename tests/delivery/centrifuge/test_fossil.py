"""The delta encoder against the official Python SDK, which applies what it makes."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import Any, SupportsIndex

import pytest
from centrifuge.codecs import _JsonCodec as SdkJson
from centrifuge.fossil import apply_delta
from hypothesis import example, given
from hypothesis import strategies as st

from realtime.delivery.centrifuge import fossil
from realtime.delivery.centrifuge.json_codec import CODEC as JSON
from realtime.feeds.publication import encode_data

from .messages import json_values

# Characters that have their first or their last bytes in common, between what is worth a copy.
texts = st.lists(st.sampled_from(["a" * 20, "b" * 20, *"éèΩ€₭😀😁\U0005f600"]), max_size=12).map("".join)


def applied(base: bytes, target: bytes) -> bytes:
    """What a client has in the end."""
    delta = fossil.encode(base, target)
    if delta is None:
        return target
    assert len(delta) < len(target)
    return bytes(apply_delta(base, delta))


@given(st.binary(max_size=300), st.binary(max_size=300))
@example(b"\x80" * 100, b"\x80" * 99)
@example(b"x" * 30 + b"\x80" * 40, b"y" + b"\x80" * 50)
def test_any_target_comes_out_of_any_base(base: bytes, target: bytes) -> None:
    assert applied(base, target) == target


@given(st.binary(max_size=120), st.lists(st.binary(max_size=40), max_size=6), st.randoms())
def test_what_is_moved_repeated_and_left_out_comes_out_again(
    extra: bytes, parts: list[bytes], chance: random.Random
) -> None:
    target = extra + b"".join(chance.choices([*parts, extra], k=6))
    assert applied(extra + b"".join(parts), target) == target
    assert applied(b"".join(parts), target) == target


@given(texts, texts)
@example("a" * 40 + "😀", "a" * 40 + "😁")
@example("€" * 20 + "₭", "€" * 20 + "€")
@example("x😀" + "a" * 40, "y\U0005f600" + "a" * 40)
@example("x😀" + "é" * 20, "y\U00020600" + "é" * 20)
@example("x😀" + "a" * 40 + "x", "y\U0005f600" + "a" * 40 + "y")
def test_a_delta_of_two_texts_is_text(base: str, target: str) -> None:
    delta = fossil.encode(base.encode(), target.encode())
    if delta is not None:
        delta.decode()
    assert applied(base.encode(), target.encode()) == target.encode()


@given(json_values, st.lists(json_values, min_size=1, max_size=4))
def test_json_clients_follow_values_from_delta_to_delta(first: Any, rest: list[Any]) -> None:
    """As the SDK does: the first in full, and then one delta after the other, all as JSON strings."""
    values = [{"fixed": "é€😀" * 10, "value": value} for value in (first, *rest)]
    base: bytes | None = None
    held = b""
    for value in values:
        payload = encode_data(value, limit_bytes=1_000_000).encode()
        delta = fossil.encode(base, payload) if base is not None else None
        sent = json.loads(JSON.pack(payload if delta is None else delta))
        publication: Any = SimpleNamespace(data=sent, delta=delta is not None)
        decoded, held = SdkJson.apply_delta_if_needed(held, publication)
        assert held == payload
        assert decoded == value
        base = payload


def book(chance: random.Random, rows: int) -> dict[str, Any]:
    asks = [[f"{609590 + 10 * row}", f"{chance.uniform(1, 5000):.2f}"] for row in range(rows)]
    return {"asks": asks, "city": "Zürich 😀", "at": 1727632299611}


@pytest.mark.parametrize("rows", [20, 85, 800])
def test_a_delta_of_similar_values_is_short(rows: int) -> None:
    chance = random.Random(4)
    old, new = book(chance, rows), book(random.Random(4), rows)
    new["asks"][rows // 3][1] = "0.07"
    new["asks"].insert(rows // 2, ["1", "2"])
    del new["asks"][rows - 2]
    new["at"] += 1
    base, target = (encode_data(value, limit_bytes=1_000_000).encode() for value in (old, new))
    delta = fossil.encode(base, target)
    assert delta is not None
    assert len(delta) < 100
    assert bytes(apply_delta(base, delta)) == target


def test_what_moved_is_found() -> None:
    chance = random.Random(5)
    parts = [bytes(chance.randbytes(200)) for _ in range(10)]
    delta = fossil.encode(b"".join(parts), b"".join(parts[5:] + parts[:5]))
    assert delta is not None
    assert len(delta) < 50


def test_a_long_new_part_does_not_hide_what_is_old_behind_it() -> None:
    chance = random.Random(6)
    old, new = chance.randbytes(5000), chance.randbytes(5000)
    delta = fossil.encode(old, chance.randbytes(10) + new + old + b"end of it")
    assert delta is not None
    assert len(delta) < 5100


@pytest.mark.parametrize(
    ("base", "target"), [(b"", b"x" * 100), (b"x" * 100, b"x" * 12), (b"a" * 50, bytes(range(50)))]
)
def test_there_is_no_delta_that_is_not_shorter(base: bytes, target: bytes) -> None:
    assert fossil.encode(base, target) is None


class Counted(bytes):
    """Bytes that count what is cut out of them."""

    slices = 0
    sliced = 0

    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        found = super().__getitem__(key)
        if isinstance(key, slice):
            Counted.slices += 1
            Counted.sliced += len(found)  # type: ignore[arg-type]
        return found


HARD = {
    "one byte again and again": lambda n: (b"a" * n, b"a" * (n - 1) + b"b"),
    "one byte, broken off": lambda n: (b"a" * n, (b"a" * 100 + b"b") * (n // 101)),
    "a short period": lambda n: (b"abcdefg" * (n // 7), b"gfedcba" * (n // 7)),
    "two periods": lambda n: (b"abcdefghijklmnop" * (n // 16), b"abcdefghijklmnopq" * (n // 17)),
    "nothing in common": lambda n: (random.Random(1).randbytes(n), random.Random(2).randbytes(n)),
    "every second block": lambda n: (
        noise := random.Random(1).randbytes(n),
        b"-".join(noise[at : at + 16] for at in range(0, n, 32)),
    ),
}


@pytest.mark.parametrize("hard", HARD)
@pytest.mark.parametrize("size", [4096, 65_536, 1_000_000])
def test_hard_values_cost_no_more_than_their_size_allows(hard: str, size: int) -> None:
    base, target = HARD[hard](size)
    Counted.slices = Counted.sliced = 0
    delta = fossil.encode(Counted(base), Counted(target))
    assert Counted.sliced < 3 * (len(base) + len(target))
    assert Counted.slices < 25_000
    if delta is not None and size < 100_000:
        assert bytes(apply_delta(base, delta)) == target
