"""The protocol's numbers: complete, with a reason each, and the same in the documentation."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from realtime import errors
from realtime.delivery.centrifuge.protocol import (
    Code,
    Disconnect,
    DisconnectCode,
    ErrorCode,
    ProtocolError,
    UnsubscribeCode,
    comes_back,
    disconnect_of,
    error_of,
)
from realtime.errors import HeadwaterError, NotFound, TooLarge, Unavailable

ROOT = Path(__file__).resolve().parents[3]
ALL: list[Code] = [*ErrorCode, *UnsubscribeCode, *DisconnectCode]


def what_an_sdk_does(code: Code) -> str:
    if code is ErrorCode.TOKEN_EXPIRED:
        return "with a new token"
    again = code.temporary if isinstance(code, ErrorCode) else code.comes_back  # type: ignore[attr-defined]
    return "yes" if again else "no"


def test_the_documented_tables_are_those_in_the_code() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text()
    documented = re.findall(r"^\| (\d{3,4}) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    assert documented == [(str(int(code)), code.reason, what_an_sdk_does(code)) for code in ALL]


def test_no_reason_is_empty_or_looks_like_json() -> None:
    assert all(code.reason and code.reason[0].isalpha() for code in ALL)
    assert len({int(code) for code in ALL}) == len(ALL)


@pytest.mark.parametrize("code", [400, 1999, 3999, 4000, 4499, 4500, 4999])
def test_a_number_of_ones_own_has_a_reason_too(code: int) -> None:
    assert ProtocolError(code).error == {"code": code, "message": "error"}
    assert Disconnect(code).reason == "disconnected"


def test_sdks_stay_away_after_their_terminal_codes() -> None:
    assert [comes_back(code) for code in (3000, 3499, 3500, 3999, 4000, 4499, 4500, 4999)] == [
        *(True, True, False, False),
        *(True, True, False, False),
    ]
    assert Disconnect(DisconnectCode.SHUTDOWN).push == {"code": 3001, "reason": "shutdown", "reconnect": True}
    assert Disconnect(DisconnectCode.STALE, "no connect in 10 s").push == {
        "code": 3502,
        "reason": "no connect in 10 s",
    }


def test_every_error_of_ours_has_a_number() -> None:
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, HeadwaterError) and kind is not HeadwaterError
    ]
    internal = {kind for kind in kinds if error_of(_made(kind)).code == ErrorCode.INTERNAL}
    elsewhere = (errors.FetchError, errors.ExtractError, errors.UnknownInsides, errors.QueryFailed)
    assert {kind for kind in internal if not issubclass(kind, elsewhere)} == {
        errors.Unavailable,
        errors.SlowReader,
    }


def _made(kind: type[HeadwaterError]) -> HeadwaterError:
    error = kind.__new__(kind)
    error.message = "why"
    return error


def test_the_nearest_class_counts_and_its_message_is_told() -> None:
    assert error_of(TooLarge("data: too large.")).error == {"code": 107, "message": "data: too large."}
    assert error_of(errors.TooManyFeeds("200 at most.")).code == 106
    assert error_of(NotFound("no such channel")).code == 102
    assert error_of(errors.ExpiredToken("token: expired")).code == 109
    assert error_of(errors.InvalidToken("token: nonsense")).code == 103
    own = ProtocolError(ErrorCode.TOKEN_EXPIRED)
    assert error_of(own) is own


def test_a_service_that_is_away_is_worth_another_try() -> None:
    assert error_of(Unavailable("The database does not answer.")).error == {
        "code": 100,
        "message": "The database does not answer.",
        "temporary": True,
    }


def test_nothing_is_told_of_an_unexpected_exception() -> None:
    assert error_of(KeyError("secret")).error == {
        "code": 100,
        "message": "internal server error",
        "temporary": True,
    }
    assert disconnect_of(KeyError("secret")).push == {
        "code": 3004,
        "reason": "internal server error",
        "reconnect": True,
    }


def test_connections_end_by_the_nearest_class() -> None:
    assert disconnect_of(errors.SlowReader("too slow")).code == 3008
    assert disconnect_of(errors.BadMessage("what?")).code == 3501
    assert disconnect_of(errors.NotSignedIn("token: revoked")).code == 3507
    assert disconnect_of(errors.InvalidToken("token: nonsense")).code == 3500
    assert disconnect_of(errors.ExpiredToken("token: expired")).code == 3005
    assert disconnect_of(ProtocolError(ErrorCode.TOKEN_EXPIRED)).code == 3005
    assert disconnect_of(ProtocolError(ErrorCode.UNAUTHORIZED)).code == 3507
    assert disconnect_of(ProtocolError(ErrorCode.UNKNOWN_CHANNEL, "what?")).reason == "what?"
    assert disconnect_of(ProtocolError(400)).code == 3501
    own = Disconnect(DisconnectCode.STALE)
    assert disconnect_of(own) is own


def test_half_a_surrogate_pair_in_a_message_can_be_sent() -> None:
    assert ProtocolError(107, "half \ud800").message == "half ?"
    assert Disconnect(3501, "half \ud800").reason == "half ?"


def test_a_long_reason_is_cut_to_what_a_close_frame_takes() -> None:
    assert Disconnect(4000, "é" * 100).reason == "é" * 61
