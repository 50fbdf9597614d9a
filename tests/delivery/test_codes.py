"""The table of refusals: complete, and the same in the documentation."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from realtime import errors
from realtime.delivery.codes import INTERNAL, TABLE, error_body, error_message, refusal_of
from realtime.errors import BadPosition, FetchError, HeadwaterError, NotFound

ROOT = Path(__file__).resolve().parents[2]


def test_the_documented_table_is_the_one_in_the_code() -> None:
    text = (ROOT / "docs" / "doors.md").read_text()
    documented = re.findall(r"^\| (\d{4}) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    table = sorted((str(row.close), row.meaning, row.client) for row in TABLE)
    assert documented == table


def test_every_error_that_a_door_may_meet_has_a_row() -> None:
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, HeadwaterError) and kind is not HeadwaterError
    ]
    elsewhere = (FetchError, errors.ExtractError, errors.Conflict, errors.UnknownInsides, errors.QueryFailed)
    for kind in kinds:
        if not issubclass(kind, elsewhere):
            assert refusal_of(kind.__new__(kind)) is not INTERNAL, kind
    assert refusal_of(RuntimeError()) is INTERNAL


def test_every_close_code_is_one_that_servers_let_pass() -> None:
    codes = [row.close for row in TABLE]
    assert len(codes) == len(set(codes))
    assert all(code == 1012 or 4000 <= code <= 4999 for code in codes)


def test_the_nearest_class_counts() -> None:
    assert refusal_of(BadPosition("no", field="since")).close == 4400
    assert refusal_of(NotFound("no")).close == 4404


def test_errors_of_any_text_can_be_sent() -> None:
    error = NotFound('half \ud800 and "quotes"', field="feed")
    assert error_message(error).isascii()
    assert error_body(error) == (
        b'{"error":{"code":"not_found","message":"half \\ud800 and \\"quotes\\"","field":"feed"}}'
    )
