"""Tokens of SDK clients: what a good one says, and every way in which one can be wrong."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.delivery.centrifuge.page_tokens import PageToken
from realtime.delivery.centrifuge.tokens import (
    LONGEST_TTL_S,
    ConnectionToken,
    SubscribeOptions,
    Tokens,
    ttl_s,
)
from realtime.errors import ExpiredToken, InvalidToken

from .messages import json_values
from .signing import KINDS, NOW, SECRET, forged, signed, tokens


async def connection(claims: dict[str, Any], **options: Any) -> ConnectionToken:
    found = await tokens(**options).connection(signed("HS256", claims))
    assert not isinstance(found, PageToken)
    return found


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512", *KINDS])
async def test_every_algorithm_of_the_protocol_is_known(algorithm: str) -> None:
    assert (await tokens().subscription(signed(algorithm, {"sub": "42", "channel": "a"}))).user == "42"


async def test_a_connection_token_says_who_connects() -> None:
    claims = {
        "sub": "42",
        "exp": NOW + 60,
        "nbf": NOW,
        "iat": NOW + 5,
        "jti": "one",
        "info": {"name": "Zoë"},
        "meta": {"secret": 1},
        "channels": ["news", "chat"],
        "subs": {
            "chat": {
                "info": 1,
                "data": [2],
                "override": {"presence": {"value": True}, "join_leave": {"value": False}, "new": 3},
            },
            "quiet": None,
        },
    }
    token = await connection(claims)
    assert token == ConnectionToken(
        user="42",
        info='{"name":"Zoë"}',  # type: ignore[arg-type]
        subs={
            "news": SubscribeOptions(),
            "chat": SubscribeOptions("1", "[2]", {"presence": True, "join_leave": False}),  # type: ignore[arg-type]
            "quiet": SubscribeOptions(),
        },
        meta='{"secret":1}',  # type: ignore[arg-type]
        expires_at=NOW + 60,
    )
    assert "secret" not in repr(token)


async def test_a_token_that_says_nothing_is_nobodys_and_does_not_expire() -> None:
    assert await connection({}) == ConnectionToken("", None, {}, None, None)
    nulls = dict.fromkeys(("sub", "exp", "info", "channels", "subs", "meta", "expire_at", "channel", "aud"))
    assert await connection(nulls) == ConnectionToken("", None, {}, None, None)


@pytest.mark.parametrize(
    ("claims", "ends"),
    [
        ({}, None),
        ({"exp": NOW + 1}, NOW + 1),
        ({"exp": NOW + 1, "expire_at": 0}, None),
        ({"exp": NOW + 1, "expire_at": NOW + 9}, NOW + 9),
        ({"expire_at": NOW + 9.5}, NOW + 9.5),
    ],
)
async def test_expire_at_ends_a_connection_instead_of_exp(claims: dict[str, Any], ends: float | None) -> None:
    assert (await connection(claims)).expires_at == ends
    subscription = signed("HS256", claims | {"channel": "a"})
    assert (await tokens().subscription(subscription)).expires_at == ends


@pytest.mark.parametrize("claims", [{"exp": NOW}, {"exp": NOW - 1, "expire_at": 0}, {"expire_at": NOW}])
async def test_an_expired_token_is_told_from_an_invalid_one(claims: dict[str, Any]) -> None:
    with pytest.raises(ExpiredToken):
        await connection(claims)
    with pytest.raises(ExpiredToken):
        await tokens().subscription(signed("HS256", claims | {"channel": "a"}))
    with pytest.raises(InvalidToken):
        await connection(claims | {"sub": 42})
    with pytest.raises(InvalidToken):
        await tokens().connection(forged({"alg": "HS256"}, claims, b"another key"))
    with pytest.raises(InvalidToken):
        await connection(claims, audience="hub")


async def test_a_subscription_token_is_for_one_user_and_channel_and_maybe_one_connection() -> None:
    claims = {
        "sub": "42",
        "channel": "chat:1",
        "info": 1,
        "data": {},
        "override": {"presence": {"value": True}},
    }
    token = await tokens().subscription(signed("HS256", claims))
    assert token.options == SubscribeOptions("1", "{}", {"presence": True})  # type: ignore[arg-type]
    assert token.is_for(user="42", channel="chat:1", client="c")
    assert not token.is_for(user="", channel="chat:1", client="c")
    assert not token.is_for(user="42", channel="chat:2", client="c")
    bound = await tokens().subscription(signed("HS256", claims | {"client": "c"}))
    assert bound.is_for(user="42", channel="chat:1", client="c")
    assert not bound.is_for(user="42", channel="chat:1", client="d")


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": 42},
        {"sub": "\ud800"},
        {"exp": "soon"},
        {"exp": True},
        {"exp": -1},
        {"exp": 10**30},
        {"expire_at": "0"},
        {"nbf": []},
        {"nbf": NOW + 1},
        {"iat": "now"},
        {"jti": 1},
        {"iss": 1},
        {"aud": 1},
        {"aud": ["a", 1]},
        {"aud": {"a": "b"}},
        {"info": "\ud800"},
        {"meta": "text"},
        {"meta": []},
        {"channel": "a"},
        {"channel": ""},
        {"channels": "a"},
        {"channels": [1]},
        {"channels": ["\ud800"]},
        {"subs": ["a"]},
        {"subs": {"a": 1}},
        {"subs": {"a": [1]}},
        {"channels": {}},
        {"subs": []},
        {"aud": 0},
        {"subs": {"a": {"override": 1}}},
        {"subs": {"a": {"override": []}}},
        {"subs": {"a": {"override": {"presence": True}}}},
        {"subs": {"a": {"override": {"presence": {"value": 1}}}}},
        {"subs": {"\ud800": {}}},
    ],
)
async def test_a_claim_of_another_type_makes_a_connection_token_invalid(claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken) as refusal:
        await tokens().connection(forged({"alg": "HS256"}, claims))
    assert next(iter(claims)) in refusal.value.message or "override: " in refusal.value.message


@pytest.mark.parametrize(
    "claims",
    [{}, {"channel": ""}, {"channel": 1}, {"channel": "a", "client": 1}, {"channel": "a", "override": []}],
)
async def test_a_claim_of_another_type_makes_a_subscription_token_invalid(claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        await tokens().subscription(signed("HS256", claims))


@given(json_values)
async def test_any_claims_are_a_token_or_refused(claims: Any) -> None:
    names = ("sub", "exp", "info", "channels", "subs", "meta", "channel", "override", "aud")
    for given_claims in (claims, dict.fromkeys(names, claims)):
        for read in (tokens().connection, tokens().subscription):
            with suppress(InvalidToken, ExpiredToken):
                await read(forged({"alg": "HS256"}, given_claims))


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}"))
async def test_any_text_is_no_token(text: str) -> None:
    with pytest.raises(InvalidToken):
        await tokens().connection(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "invalid_token",
        "a.b",
        "\ud800.a.b",
        forged({}, {}),
        forged({"alg": 256}, {}),
        forged({"alg": "HS256", "kid": 1}, {}),
        forged({"alg": "HS256", "crit": ["exp"]}, {}),
        forged({"alg": "HS256", "b64": False, "crit": ["b64"]}, {}),
        forged({"alg": "HS256"}, []),
        forged({"alg": "HS256"}, b"\xff"),
        forged({"alg": "HS256"}, '{"sub": "42"}'.encode("utf-16")),
        forged({"alg": "HS256"}, b'{"exp": NaN}'),
        forged({"alg": "HS256"}, b"[" * 5000),
    ],
)
async def test_what_is_no_token_in_its_form_is_invalid(text: str) -> None:
    with pytest.raises(InvalidToken):
        await tokens().connection(text)


async def test_a_changed_or_cut_token_is_invalid() -> None:
    good = signed("HS256", {"sub": "42"})
    header, payload, signature = good.split(".")
    other = signed("HS256", {"sub": "43"}).split(".")
    for bad in (
        f"{header}.{other[1]}.{signature}",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        good + ".",
    ):
        with pytest.raises(InvalidToken):
            await tokens().connection(bad)


@pytest.mark.parametrize(
    ("options", "claims", "good"),
    [
        ({"audience": "hub"}, {"aud": "hub"}, True),
        ({"audience": "hub"}, {"aud": ["shop", "hub"]}, True),
        ({"audience": "hub"}, {"aud": "hubs"}, False),
        ({"audience": "hub"}, {"aud": []}, False),
        ({"audience": "hub"}, {}, False),
        ({"issuer": "shop"}, {"iss": "shop"}, True),
        ({"issuer": "shop"}, {"iss": "shopping"}, False),
        ({"issuer": "shop"}, {}, False),
        ({}, {"aud": "anybody", "iss": "anybody"}, True),
    ],
)
async def test_audience_and_issuer_are_those_of_the_settings(
    options: dict[str, str], claims: dict[str, Any], good: bool
) -> None:
    for read, more in (
        (tokens(**options).connection, {}),
        (tokens(**options).subscription, {"channel": "a"}),
    ):
        text = signed("HS256", claims | more)
        if good:
            await read(text)
        else:
            with pytest.raises(InvalidToken):
                await read(text)


async def test_without_a_key_every_token_is_invalid() -> None:
    for text in (signed("HS256", {}), forged({"alg": "HS256"}, {}, b""), forged({"alg": "none"}, {})):
        with pytest.raises(InvalidToken):
            await Tokens().connection(text)


def test_a_client_is_told_whole_seconds_that_its_timers_take() -> None:
    assert ttl_s(NOW + 59.2, NOW) == 60
    assert ttl_s(NOW - 5, NOW) == 1
    assert ttl_s(253_402_300_799, NOW) == LONGEST_TTL_S
    assert LONGEST_TTL_S * 1000 < 2**31


def test_nothing_prints_a_secret() -> None:
    assert SECRET not in repr(tokens()) + repr(vars(tokens()))
