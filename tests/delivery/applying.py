"""What a client of the plain doors does with a delta of rows, as the documentation tells it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def applied(before: Sequence[Any], key: Sequence[str], rows: Mapping[str, Any]) -> list[Any]:
    """The list after an update with these `key` and `rows`, from the one before it."""
    by_key = {_text(_key_of(row, key)): row for row in before}
    for each in rows.get("removed", ()):
        del by_key[_text(each)]
    for row in rows.get("changed", ()):
        by_key[_text(_key_of(row, key))] = row
    for row in rows.get("added", ()):
        by_key[_text(_key_of(row, key))] = row
    keys = list(by_key)
    for each, after in rows.get("order", ()):
        keys.remove(_text(each))
        keys.insert(0 if after is None else keys.index(_text(after)) + 1, _text(each))
    return [by_key[each] for each in keys]


def _key_of(row: Mapping[str, Any], key: Sequence[str]) -> Any:
    return row[key[0]] if len(key) == 1 else [row[name] for name in key]


def _text(key: Any) -> str:
    """JSON tells 1 from true, and Python does not."""
    return json.dumps(key)
