"""What changed between two lists of keyed rows, with as few moves as can be, and how a client applies it.

No Django, no I/O. A row is an object; its key is the value of one of its members, or an array of the values
of several. Rows are compared and passed on as the text that they have in their list, never written anew.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

# Whole numbers up to here are told apart by every language.
EXACT = 1 << 53

# A value and where it ends: what `raw_decode` calls, without what that costs for each row.
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Difference(NamedTuple):
    """What makes one list of another, as JSON texts, in the order in which it is applied.

    removed   keys of rows that are gone
    changed   rows that take the place of the one with their key
    added     rows that come at the end
    order     (key, after): the row of `key` moves right behind that of `after`, "null": to the front
    """

    removed: list[str]
    changed: list[str]
    added: list[str]
    order: list[tuple[str, str]]


def key_names(tags: str) -> list[str]:
    """The names that a publication's tags give for the key of its rows; none: it is no such list."""
    key = json.loads(tags).get("key") if tags else None
    return key.split(",") if isinstance(key, str) and key else []


def row_delta(before: str, value: str, names: Sequence[str]) -> str | None:
    """The JSON text of what makes `value` of `before`, empty members left out.

    None when `value` is shorter, and when one of them is no list of rows with a key each: see `read_rows`.
    """
    old = read_rows(before, names)
    new = read_rows(value, names) if old is not None else None
    if old is None or new is None:
        return None
    removed, changed, added, order = difference(old, new)
    members = {
        "removed": removed,
        "changed": changed,
        "added": added,
        "order": [f"[{key},{after}]" for key, after in order],
    }
    text = ",".join(f'"{name}":[{",".join(items)}]' for name, items in members.items() if items)
    return f"{{{text}}}" if len(text) + 2 <= len(value) else None


def read_rows(text: str, names: Sequence[str]) -> dict[str, str] | None:
    """The rows of a compact JSON array by the text of their key, in order.

    None unless each is an object with a key of its own, made of texts, truth, null and whole numbers up to
    2⁵³: keys that are equal in one language are so in all. Null alone is no key: it says "front" in `order`.
    """
    if text == "[]":
        return {}
    if not text.startswith("[") or not names:
        return None
    rows: dict[str, str] = {}
    at = 1
    try:
        while True:
            row, end = _scan(text, at)
            key = _key(row, names)
            if key is None or key in rows:
                return None
            rows[key] = text[at:end]
            if text[end] != ",":
                return rows if text[end:] == "]" else None
            at = end + 1
    except (StopIteration, ValueError, IndexError, RecursionError):
        return None


def _key(row: Any, names: Sequence[str]) -> str | None:
    if not isinstance(row, dict):
        return None
    try:
        key = row[names[0]] if len(names) == 1 else [row[name] for name in names]
    except KeyError:
        return None
    if type(key) is int and abs(key) <= EXACT:
        return str(key)  # what most keys are, without a general encoder's cost
    return _encode(key) if key is not None and _is_exact(key) else None


def _is_exact(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_exact, value))
    return value is None or isinstance(value, str) or (isinstance(value, int) and abs(value) <= EXACT)


def difference(old: Mapping[str, str], new: Mapping[str, str]) -> Difference:
    """What makes `new` of `old`, both rows by key in order. No order can be had by fewer moves."""
    removed = [key for key in old if key not in new]
    changed = [row for key, row in new.items() if key in old and old[key] != row]
    added = [key for key in new if key not in old]
    before_moves = [key for key in old if key in new] + added
    return Difference(removed, changed, [new[key] for key in added], list(_moves(before_moves, list(new))))


def _moves(old: Sequence[str], new: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Those that stay are the longest run that is in order already; the others follow from front to back."""
    if old == new:
        return
    place = {key: at for at, key in enumerate(new)}
    staying = _longest_rising([place[key] for key in old])
    for at, key in enumerate(new):
        if at not in staying:
            yield key, new[at - 1] if at else "null"


def _longest_rising(numbers: Sequence[int]) -> set[int]:
    """The members of a longest rising subsequence of different numbers, by patience sorting."""
    lasts: list[int] = []  # the smallest number that a subsequence of each length ends with
    before: dict[int, int] = {}
    for number in numbers:
        at = bisect_left(lasts, number)
        if at:
            before[number] = lasts[at - 1]
        lasts[at : at + 1] = [number]
    members = set[int]()
    last = lasts[-1] if lasts else None
    while last is not None:
        members.add(last)
        last = before.get(last)
    return members
