"""The benchmark's arithmetic: what changes were committed, what came where and when, and what that comes to.

All moments are CLOCK_REALTIME in ns, of one machine. No I/O.
"""

from __future__ import annotations

import statistics
from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Change:
    """One transaction, which wrote `number` into its rows.

    committing_ns   just before COMMIT was sent; every latency counts from here
    committed_ns    when it was answered
    watcher         whom it concerns; None: everybody
    """

    number: int
    committing_ns: int
    committed_ns: int
    watcher: int | None = None


@dataclass(slots=True)
class Receipts:
    """What watchers were told, in the order in which they were.

    arrived     when the watcher's kernel had it
    read        when the load client read it: all watchers share that one process, which real ones do not
    published   when the server says that it published it; 0: it does not say
    """

    watcher: array[int] = field(default_factory=lambda: array("q"))
    number: array[int] = field(default_factory=lambda: array("q"))
    arrived: array[int] = field(default_factory=lambda: array("q"))
    read: array[int] = field(default_factory=lambda: array("q"))
    published: array[int] = field(default_factory=lambda: array("q"))

    def add(self, watcher: int, number: int, arrived: int, read: int, published: int = 0) -> None:
        self.watcher.append(watcher)
        self.number.append(number)
        self.arrived.append(arrived)
        self.read.append(read)
        self.published.append(published)


def reckon(changes: Sequence[Change], receipts: Receipts, watchers: int, parts: int) -> dict[str, float]:
    """Latencies and losses over all pairs of a change and a watcher whom it concerns.

    parts   messages that tell of one change, one for each row; a watcher has the change with the last of
            them. 0: each message shows the state after a change, and stands for those before it too.

    `lost` counts pairs. A pair that is lost has no latency. Milliseconds; 0 where nothing came.
    """
    own: dict[int, list[int]] = defaultdict(list)
    for index, watcher in enumerate(receipts.watcher):
        own[watcher].append(index)
    found: dict[int, list[int]] = {change.number: [] for change in changes}
    lost = doubled = reordered = 0
    for watcher in range(watchers):
        wanted = [each.number for each in changes if each.watcher in (None, watcher)]
        numbers = [receipts.number[index] for index in own[watcher]]
        told = _states(wanted, numbers) if parts == 0 else _messages(wanted, numbers, parts)
        for number, at in told.items():
            found[number].append(own[watcher][at])
        lost += len(wanted) - len(told)
        doubled += sum(max(0, times - (parts or 1)) for times in Counter(numbers).values())
        reordered += sum(later < earlier for earlier, later in pairwise(numbers))
    return {
        "messages": len(receipts.number),
        "deliveries": sum(map(len, found.values())),
        "lost": lost,
        "doubled": doubled,
        "reordered": reordered,
        **_latencies(changes, receipts, found),
    }


def _states(wanted: Sequence[int], numbers: Sequence[int]) -> dict[int, int]:
    """For each change the first message that shows it or a later one."""
    told, at = {}, 0
    for number in wanted:
        while at < len(numbers) and numbers[at] < number:
            at += 1
        if at < len(numbers):
            told[number] = at
    return told


def _messages(wanted: Sequence[int], numbers: Sequence[int], parts: int) -> dict[int, int]:
    """For each change the last of its messages, where all came."""
    came: dict[int, list[int]] = defaultdict(list)
    for at, number in enumerate(numbers):
        came[number].append(at)
    return {number: came[number][parts - 1] for number in wanted if len(came[number]) >= parts}


def _latencies(
    changes: Sequence[Change], receipts: Receipts, found: Mapping[int, Sequence[int]]
) -> dict[str, float]:
    read: list[float] = []
    arrived: list[float] = []
    first: list[float] = []
    last: list[float] = []
    published: list[float] = []
    for change in changes:
        began, indexes = change.committing_ns, found[change.number]
        if not indexes:
            continue
        read.extend((receipts.read[index] - began) / 1e6 for index in indexes)
        here = [(receipts.arrived[index] - began) / 1e6 for index in indexes]
        arrived.extend(here)
        first.append(min(here))
        last.append(max(here))
        if receipts.published[indexes[0]]:
            published.append((receipts.published[indexes[0]] - began) / 1e6)
    commits = [(each.committed_ns - each.committing_ns) / 1e6 for each in changes]
    return {
        "p50_ms": quantile(arrived, 0.50),
        "p99_ms": quantile(arrived, 0.99),
        "read_p50_ms": quantile(read, 0.50),
        "read_p99_ms": quantile(read, 0.99),
        "longest_ms": quantile(arrived, 1.0),
        "commit_p50_ms": quantile(commits, 0.50),
        "longest_commit_ms": quantile(commits, 1.0),
        "published_p50_ms": quantile(published, 0.50),
        "published_p99_ms": quantile(published, 0.99),
        "first_p50_ms": quantile(first, 0.50),
        "last_p50_ms": quantile(last, 0.50),
    }


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all is not above (nearest rank); 0 for none."""
    if not values:
        return 0.0
    ranked = sorted(values)
    return ranked[max(0, -int(-len(ranked) * share // 1) - 1)]


def middle(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The medians of several rounds; what must not happen once is summed."""
    summed = {"lost", "doubled", "reordered", "evaluated_for_nothing", "not_evaluated", "closed"}
    return {
        name: sum(row[name] for row in rows)
        if name in summed
        else statistics.median(row[name] for row in rows)
        for name in rows[0]
    }


def astray(before: Mapping[int, int], after: Mapping[int, int], changed: Sequence[int]) -> tuple[int, int]:
    """(evaluations of queries that no change concerned, or more of them than changes; changes without one).

    before, after   evaluations of each query so far, by its parameter
    changed         the parameter that each change concerned, once for every change
    """
    wanted = Counter(changed)
    done = Counter({key: after[key] - before.get(key, 0) for key in after})
    return sum((done - wanted).values()), sum((wanted - done).values())
