"""Messages of the protocol as hypothesis draws them from the schema."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

from hypothesis import strategies as st

from realtime.delivery.centrifuge.codec import Raw, raw_of_value
from realtime.delivery.centrifuge.schema import INTEGERS, MESSAGES, METHODS, Field

# The Python SDK's schema is a little older than the reference.
NEWER = {("SubscribeRequest", "type")}

# Whole numbers as far as SDKs' floats are exact, and numbers that are written the same again.
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
raws: st.SearchStrategy[Raw] = json_values.map(raw_of_value)


@cache
def of_kind(kind: str) -> st.SearchStrategy[Any]:
    """Values of that kind; a scalar is never zero, false or empty."""
    if kind == "json":
        return raws
    if kind == "string":
        return st.text(min_size=1, max_size=12)
    if kind == "bool":
        return st.just(True)
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        return st.integers(low, high).filter(bool)
    return messages(kind)


def of_field(field: Field) -> st.SearchStrategy[Any]:
    inner = of_kind(field.kind)
    if field.many == "list":
        return st.lists(inner, min_size=1, max_size=3)
    if field.many == "map":
        return st.dictionaries(st.text(max_size=8), inner, min_size=1, max_size=3)
    return inner


@cache
def messages(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Any of that message's fields that the Python SDK knows, each of them there or not."""
    fields = {key: field for key, field in MESSAGES[name].items() if (name, key) not in NEWER}
    return st.fixed_dictionaries({}, optional={key: of_field(field) for key, field in fields.items()})


def plain(value: Any) -> Any:
    """The value as a JSON client reads it: Raw parsed."""
    if isinstance(value, Raw):
        return json.loads(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def sent(command: dict[str, Any]) -> Any:
    """What the SDK encodes: `data` is bytes in Protobuf, which its library takes in base 64."""
    if isinstance(command, Raw):
        return base64.b64encode(command.encode()).decode()
    if isinstance(command, dict):
        return {key: sent(value) for key, value in command.items()}
    return command


def commands() -> st.SearchStrategy[dict[str, Any]]:
    """One command of any method, as the SDK may send it."""
    return st.sampled_from(METHODS).flatmap(
        lambda method: st.fixed_dictionaries(
            {"id": st.integers(1, 2**32 - 1), method: messages(MESSAGES["Command"][method].kind)}
        )
    )
