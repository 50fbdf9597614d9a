"""JSON Web Tokens of SDK clients: who connects, and to what somebody may subscribe.

`Tokens` knows the keys. A token is good when one of them signed it, every claim in it has its type, and
audience and issuer are those of the settings. Time is looked at last: what is expired was good otherwise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from realtime.conf import Conf, conf
from realtime.errors import BadInput, ExpiredToken, InvalidToken
from realtime.feeds.publication import decode_data

from .codec import Raw, raw_of_value
from .jwks import Jwks
from .keys import Key, Token, public_keys, secret_key, take_apart
from .page_tokens import PAGE_KID, PageToken, read_page_token

# The year 9999, as far as Python's dates go.
LATEST = 253_402_300_799
# JavaScript's timers go no further.
LONGEST_TTL_S = 2**31 // 1000 - 1
OVERRIDES = ("presence", "join_leave", "force_recovery", "force_positioning", "force_push_join_leave")


@dataclass(frozen=True, slots=True)
class SubscribeOptions:
    """How somebody is subscribed: what others see of them there, what they are told, rules for them alone.

    info       shown as `chan_info`
    data       comes with the subscription
    override   names of OVERRIDES, each on or off
    """

    info: Raw | None = None
    data: Raw | None = None
    override: Mapping[str, bool] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class ConnectionToken:
    """Who connects. `user` is "" for nobody in particular.

    info         shown as `conn_info`
    subs         what the server subscribes the client to: the claims `subs` and `channels`
    meta         an object for the server alone, never shown
    expires_at   when the connection ends unless it is refreshed, in seconds since 1970; None: never
    """

    user: str
    info: Raw | None
    subs: Mapping[str, SubscribeOptions]
    meta: Raw | None = field(repr=False)
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class SubscriptionToken:
    """That `user` may subscribe to `channel`, on the connection `client` alone unless that is "".

    expires_at   when the subscription ends unless it is refreshed, in seconds since 1970; None: never
    """

    user: str
    channel: str
    client: str
    options: SubscribeOptions
    expires_at: float | None

    def is_for(self, *, user: str, channel: str, client: str) -> bool:
        """Whether it was made for this connection and channel."""
        return self.user == user and self.channel == channel and self.client in ("", client)


class Tokens:
    """The keys, audience and issuer of one installation. `now` is a seam for tests."""

    def __init__(
        self,
        keys: tuple[Key, ...] = (),
        jwks: Jwks | None = None,
        *,
        audience: str = "",
        issuer: str = "",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._jwks = jwks
        self._audience = audience
        self._issuer = issuer
        self._now = now

    @classmethod
    def of_conf(cls, settings: Conf | None = None) -> Tokens:
        """Those of the settings. Raises ImproperlyConfigured naming the wrong one, without its value."""
        settings = settings or conf()
        keys: list[Key] = []
        jwks = None
        name = ""
        try:
            if settings.token_secret:
                name = "HEADWATER_TOKEN_SECRET"
                keys.append(secret_key(settings.token_secret))
            if settings.token_public_keys:
                name = "HEADWATER_TOKEN_PUBLIC_KEYS"
                keys.extend(public_keys(settings.token_public_keys))
            if settings.token_jwks_url:
                name = "HEADWATER_TOKEN_JWKS_URL"
                jwks = Jwks(settings.token_jwks_url)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name}: {error}.") from None
        return cls(tuple(keys), jwks, audience=settings.token_audience, issuer=settings.token_issuer)

    async def connection(self, text: str) -> ConnectionToken | PageToken:
        """Who connects with this token: somebody's client, or a page of Headwater's own.

        Raises InvalidToken, ExpiredToken, and Unavailable when the keys cannot be read.
        """
        token = take_apart(text)
        if token.kid == PAGE_KID:
            return read_page_token(token, now=self._now())
        claims = await self._claims(token)
        if claims.get("channel") is not None:
            raise _invalid("channel: this is a token for a subscription")
        meta = _json(claims, "meta")
        if meta is not None and not isinstance(claims["meta"], dict):
            raise _invalid("meta: give an object")
        return ConnectionToken(
            user=_string(claims, "sub"),
            info=_json(claims, "info"),
            subs=MappingProxyType(_subs(claims)),
            meta=meta,
            expires_at=self._end_of(claims),
        )

    async def subscription(self, text: str) -> SubscriptionToken:
        """What this token lets somebody subscribe to; whether that is who asks is for `is_for`.

        Raises InvalidToken, ExpiredToken, and Unavailable when the keys cannot be read.
        """
        token = take_apart(text)
        claims = await self._claims(token)
        channel = _string(claims, "channel")
        if not channel:
            raise _invalid("channel: name the one that it is for")
        return SubscriptionToken(
            user=_string(claims, "sub"),
            channel=channel,
            client=_string(claims, "client"),
            options=_options(claims),
            expires_at=self._end_of(claims),
        )

    async def aclose(self) -> None:
        """End what is being read."""
        if self._jwks is not None:
            await self._jwks.aclose()

    async def _claims(self, token: Token) -> dict[str, Any]:
        if not token.is_signed_by(self._keys) and not (
            self._jwks is not None and token.is_signed_by(await self._jwks.keys(token.kid))
        ):
            raise InvalidToken("token: no key that is known here signed it.", field="token")
        try:
            claims = decode_data(token.payload.decode())
        except (BadInput, UnicodeDecodeError):
            claims = None
        if not isinstance(claims, dict):
            raise InvalidToken("token: its claims are not a JSON object.", field="token")
        self._check_registered(claims)
        return claims

    def _check_registered(self, claims: dict[str, Any]) -> None:
        """The claims of RFC 7519 that name whom the token is from and for, and from when on."""
        audiences = _given(claims, "aud", [])
        named = [audiences] if isinstance(audiences, str) else audiences
        if not isinstance(named, list) or not all(isinstance(one, str) for one in named):
            raise _invalid("aud: give a string or a list of them")
        if self._audience and self._audience not in named:
            raise _invalid("aud: this token is for somebody else")
        if self._issuer and _string(claims, "iss") != self._issuer:
            raise _invalid("iss: this token is from somebody else")
        _string(claims, "iss")
        _string(claims, "jti")
        _moment(claims, "iat")
        not_before = _moment(claims, "nbf")
        if not_before is not None and not_before > self._now():
            raise _invalid("nbf: this token is not good yet")

    def _end_of(self, claims: dict[str, Any]) -> float | None:
        """When what the token allows ends: `expire_at`, of which 0 is never, otherwise `exp`.

        Raises ExpiredToken when that or the token's own time is over.
        """
        exp, expire_at = _moment(claims, "exp"), _moment(claims, "expire_at")
        ends = exp if expire_at is None else expire_at or None
        if any(end is not None and end <= self._now() for end in (exp, ends)):
            raise ExpiredToken("token: expired. Ask for a new one.", field="token")
        return ends


def ttl_s(expires_at: float, now: float) -> int:
    """Whole seconds until then as a client is told them: at least 1, and no more than its timers take."""
    return max(1, min(math.ceil(expires_at - now), LONGEST_TTL_S))


def _invalid(why: str) -> InvalidToken:
    return InvalidToken(f"token: {why}.", field="token")


def _given(claims: Mapping[str, Any], name: str, default: Any) -> Any:
    """The claim's value; null is as if it were not there."""
    value = claims.get(name)
    return default if value is None else value


def _string(claims: Mapping[str, Any], name: str) -> str:
    return _checked_string(_given(claims, name, ""), name)


def _checked_string(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _invalid(f"{name}: give a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _invalid(f"{name}: holds half of a surrogate pair") from None
    return value


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST:
        raise _invalid(f"{name}: give seconds since 1970")
    return float(value)


def _json(claims: Mapping[str, Any], name: str) -> Raw | None:
    value = claims.get(name)
    if value is None:
        return None
    try:
        return raw_of_value(value)
    except BadInput:
        raise _invalid(f"{name}: holds what is no Unicode, or is nested too deeply") from None


def _subs(claims: Mapping[str, Any]) -> dict[str, SubscribeOptions]:
    channels, subs = _given(claims, "channels", []), _given(claims, "subs", {})
    if not isinstance(channels, list):
        raise _invalid("channels: give a list of strings")
    if not isinstance(subs, dict):
        raise _invalid("subs: give an object")
    found = {_checked_string(channel, "channels"): SubscribeOptions() for channel in channels}
    return found | {_checked_string(name, "subs"): _options(_given(subs, name, {})) for name in subs}


def _options(given: Any) -> SubscribeOptions:
    if not isinstance(given, dict):
        raise _invalid("subs: give objects")
    rules = _given(given, "override", {})
    if not isinstance(rules, dict):
        raise _invalid("override: give an object")
    override = {}
    for name in OVERRIDES:
        rule = rules.get(name)
        if rule is None:
            continue
        if not isinstance(rule, dict) or not isinstance(rule.get("value"), bool):
            raise _invalid(f'override: give {name} as {{"value": true}} or false')
        override[name] = rule["value"]
    return SubscribeOptions(_json(given, "info"), _json(given, "data"), MappingProxyType(override))
