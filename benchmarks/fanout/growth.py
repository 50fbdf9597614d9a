"""How the cost grows: with subscribers, with feeds on one connection, with the size of a value.

Besides: a board's connection against sockets of its own for every feed, what idle connections hold, and what
readers that have stalled do to the others. Headwater alone, on Daphne with Redis.
"""

from __future__ import annotations

from benchmarks.fanout.measuring import Row, Shape

SERVER = "headwater-daphne-redis"

SUBSCRIBERS = [Shape(number, 10_000 / number / 2, 160) for number in (100, 1_000, 5_000, 10_000)]
FEEDS = [Shape(10, 2, 160, feeds=number, per_connection=number) for number in (1, 10, 100, 1_000)]
PAYLOAD = [Shape(200, 5, size) for size in (100, 1_024, 8_192, 65_536)]
BOARD = Shape(100, 1, 160, feeds=100, per_connection=100)
SEPARATE = Shape(10_000, 1, 160, feeds=100)
READERS = Shape(800, 4, 16_384)
WITH_STALLED = Shape(800, 4, 16_384, stalled=200)

SHAPES = [*SUBSCRIBERS, *FEEDS, *PAYLOAD, BOARD, SEPARATE, READERS, WITH_STALLED]


def seconds(shape: Shape) -> float:
    """Long enough that readers which have stalled are noticed and let go."""
    return 20.0 if shape in (READERS, WITH_STALLED) else 5.0


def show(rows: list[Row]) -> None:
    """The comparisons in words, from the medians of each shape."""
    found = dict(zip(SHAPES, rows, strict=True))
    for title, shapes, key in (
        ("subscribers", SUBSCRIBERS, "subscribers"),
        ("feeds on one connection", FEEDS, "feeds"),
        ("bytes of a value", PAYLOAD, "bytes"),
    ):
        print(f"\n{title:>24}{'CPU µs':>9}{'p50 ms':>9}{'p99 ms':>9}{'lost':>6}")
        for shape in shapes:
            row = found[shape]
            print(
                f"{row[key]:>24,}{row['cpu_us_per_delivery']:9.1f}{row['p50_ms']:9.1f}{row['p99_ms']:9.1f}"
                f"{row['lost']:6}"
            )
    board, separate = found[BOARD], found[SEPARATE]
    ratio = separate["cpu_us_per_delivery"] / board["cpu_us_per_delivery"]
    print(
        f"\n100 feeds on each of 100 connections: {board['cpu_us_per_delivery']:.1f} µs a delivery; "
        f"on 10,000 sockets of their own: {separate['cpu_us_per_delivery']:.1f} µs, "
        f"{ratio:.1f} times as much."
    )
    print(f"10,000 idle connections: {separate['rss_kb_per_connection']:.1f} KB each.")
    alone, disturbed = found[READERS], found[WITH_STALLED]
    print(
        f"800 readers: p99 {alone['p99_ms']:.1f} ms; beside 200 that never read: "
        f"{disturbed['p99_ms']:.1f} ms ({disturbed['p99_ms'] / alone['p99_ms']:.2f} times), and "
        f"{disturbed['rss_mb_at_the_end'] - alone['rss_mb_at_the_end']:.0f} MB more memory."
    )
