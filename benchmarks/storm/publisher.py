"""Publishes to every feed at a steady rate, through the store as another process does, until its input ends.

Prints one line of JSON at the end: the last offset of each feed, in the order of the command line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time

import django


async def publish_all(slugs: list[str], rate: float) -> list[int]:
    """One publication to each feed `rate` times a second."""
    from realtime.feeds.models import Feed
    from realtime.feeds.runtime import Feeds

    feeds = Feeds.current()
    ids = await feeds.database.read(lambda: dict(Feed.objects.values_list("slug", "pk")))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    begin, number = time.monotonic(), 0
    results = []
    while not stop.is_set():
        await asyncio.sleep(begin + number / rate - time.monotonic())
        value = {"sn": number, "ts": time.monotonic_ns(), "pad": "x" * 100}
        results = await asyncio.gather(*(feeds.store.publish(ids[slug], value) for slug in slugs))
        number += 1
    await feeds.aclose()
    return [result.position.offset for result in results]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slugs", nargs="+")
    parser.add_argument("--rate", type=float, required=True, help="publications a second to each feed")
    parser.add_argument("--core", type=int, required=True)
    options = parser.parse_args()
    os.sched_setaffinity(0, {options.core})
    django.setup()
    print(json.dumps(asyncio.run(publish_all(options.slugs, options.rate))))


if __name__ == "__main__":
    main()
