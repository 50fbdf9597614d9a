"""The settings, one row each: name, default, unit (in the name) and help.

Every setting comes from the environment. The README's table is made of the same rows, and a test holds it
complete. A value that cannot be read stops the start with the setting's name.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MOST_RETAINED = 2**31 - 1
LONGEST_RETENTION_S = 100 * 366 * 86_400.0

BASE_DIR = Path(__file__).resolve().parent.parent

Names = Annotated[tuple[str, ...], NoDecode]

_NAMESPACE = re.compile(r"(?:[A-Za-z0-9_.-]{1,50})?")
# `feed:` and `query:` name what has rules of its own.
_RESERVED_NAMESPACES = frozenset({"feed", "query"})


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Rules:
    """What SDK clients may do on a channel.

    subscribe       without a subscription token: nobody ("token"), whoever has a name, or anybody
    publish         nobody but tokens with the scope publish, subscribers, or whoever has a name ("users")
    presence        who is subscribed is kept, and subscribers may read it
    join_leave      who comes and goes is told to nobody, to those who ask and may read presence, or to all
    history         subscribers may read it
    history_size    publications that history shows and that can be recovered
    history_age_s   seconds for which they are
    recovery        subscriptions recover if they ask for it, or always
    mode            what they recover: all publications that were missed, or the newest one
    delta           deltas are sent to those who ask for them
    """

    subscribe: Literal["token", "users", "anybody"] = "token"
    publish: Literal["nobody", "subscribers", "users"] = "nobody"
    presence: bool = False
    join_leave: Literal["off", "asked", "forced"] = "off"
    history: bool = False
    history_size: Annotated[int, Field(ge=1, le=MOST_RETAINED)] = 100
    history_age_s: Annotated[float, Field(ge=1, le=LONGEST_RETENTION_S)] = 300.0
    recovery: Literal["asked", "forced"] = "asked"
    mode: Literal["stream", "cache"] = "stream"
    delta: bool = True

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.join_leave == "asked" and not self.presence:
            raise ValueError('join_leave "asked" needs presence: only who may read it is told')
        return self


Namespaces = Annotated[dict[str, Rules], NoDecode]


def _row(default: Any, help_text: str, *, alias: str | None = None, **bounds: Any) -> Any:
    """One setting. `alias` replaces the HEADWATER_ prefix for names that other tools share."""
    return Field(
        default, description=help_text, validation_alias=AliasChoices(alias) if alias else None, **bounds
    )


class Conf(BaseSettings):
    """All settings, read once. Names in the environment are the field's in capitals behind HEADWATER_."""

    model_config = SettingsConfigDict(env_prefix="HEADWATER_", frozen=True, extra="ignore")

    # Where things are
    data_dir: Path = _row(BASE_DIR / "var", "Folder for the SQLite database and the generated keys.")
    database_url: str = _row(
        "", "PostgreSQL as postgres://…; empty: SQLite in the data folder.", alias="DATABASE_URL"
    )
    redis_url: str = _row("", "Redis as redis://… for many processes; empty: in memory.", alias="REDIS_URL")
    host: str = _row("127.0.0.1", "Address that `serve` listens on.")
    port: int = _row(8000, "Port that `serve` listens on.", alias="PORT", ge=0, le=65535)

    # Keys and who may come in
    secret_key: str = _row("", "Signs sessions; empty: generated once into the data folder.")
    field_keys: Names = _row((), "Fernet keys for secret header values, newest first; empty: generated once.")
    anonymous: bool = _row(True, "SDK clients may connect without a token, as nobody in particular.")
    token_secret: str = _row(
        "", "Secret that SDK clients' tokens are signed with: HS256, HS384 or HS512.", repr=False
    )
    token_public_keys: str = _row("", "PEM public keys for such tokens: RSA, ECDSA or Ed25519, any number.")
    token_jwks_url: str = _row("", "Where further public keys for such tokens are read (JWKS).")
    token_audience: str = _row("", "What `aud` of such a token must name; empty: anything.")
    token_issuer: str = _row("", "What `iss` of such a token must be; empty: anything.")
    apps: Names = _row((), "Further Django apps, by module, with models, pages (`urls`) and a `live.py`.")
    debug: bool = _row(False, "Django's debug mode. Never in production.")
    allowed_hosts: Names = _row(("localhost", "127.0.0.1", "[::1]"), "Host names that this site answers to.")
    allowed_origins: Names = _row((), "Further origins (https://…) whose pages may open sockets here.")
    trusted_proxies: Names = _row((), "Networks whose X-Forwarded-For and -Proto headers are believed.")
    secure_cookies: bool = _row(False, "Cookies over HTTPS only. Switch on behind TLS.")

    # Sources
    allowed_networks: Names = _row(
        (), "Private networks that sources may reach: `10.0.0.0/8` or `127.0.0.1/32:8000` for one port."
    )
    fetch_limit_bytes: int = _row(2 * 1024 * 1024, "Largest answer read from an upstream.", ge=1024)
    poll_concurrency: int = _row(200, "Requests under way at once in one engine.", ge=1, le=10_000)
    poll_per_host: int = _row(8, "Requests under way at once to one host.", ge=1, le=1000)
    backoff_cap_s: float = _row(
        300.0, "Longest back-off after failures, unless the interval is longer.", ge=1
    )

    # Feeds
    value_limit_bytes: int = _row(1_000_000, "Largest value of a feed, as JSON.", ge=1024, le=1_040_000)
    body_limit_bytes: int = _row(2 * 1024 * 1024, "Largest request body.", ge=1024)
    retention_count: int = _row(
        10_000, "Publications kept per feed, unless the feed says otherwise.", ge=1, le=MOST_RETAINED
    )
    retention_age_s: float = _row(
        7 * 86_400.0,
        "Age up to which they are kept; the newest always is.",
        ge=1,
        le=LONGEST_RETENTION_S,
    )
    position_check_s: float = _row(
        0.0, "How often positions are compared with the journal; 0: 1 s in memory, 4 s with Redis.", ge=0
    )
    database_threads: int = _row(
        4,
        "Threads for database work in each process, and as many for sync methods that clients call.",
        ge=1,
        le=64,
    )

    # Live queries
    query_first_ms: float = _row(
        20.0, "How long changes of rows are gathered before a live query is evaluated.", ge=0, le=10_000
    )
    query_sustained_ms: float = _row(
        250.0, "The same while changes never stop: how far apart evaluations are.", ge=0, le=60_000
    )
    query_recheck_s: float = _row(
        30.0, "How often a watched query is evaluated although no change was heard.", ge=1
    )
    query_limit_s: float = _row(5.0, "How long a live query may take until it is cancelled.", ge=0.1, le=300)
    queries_at_once: int = _row(
        10_000, "Live queries, each with its parameters, that may be watched at a time.", ge=1
    )
    query_threads: int = _row(
        4, "Threads for live queries in each engine; slow queries have one of their own.", ge=1, le=64
    )

    # Channels of SDK clients
    namespaces: Namespaces = _row(
        {}, 'Channels that SDK clients may open, as JSON: `{"chat": {"publish": "subscribers"}}`.'
    )
    personal_channels: bool = _row(
        False, "SDK clients are subscribed to `#<their user>`; needs a namespace with an empty name."
    )

    # Doors
    joins_at_once: int = _row(
        1_000, "Reads at once for clients that come in, in each process; the others wait their turn.", ge=1
    )
    feeds_per_socket: int = _row(200, "Feeds that one socket may watch.", ge=1, le=10_000)
    send_limit_bytes: int = _row(1024 * 1024, "Bytes that may wait for one slow reader.", ge=65_536)
    stall_limit_s: float = _row(
        10.0, "How long a client may read nothing while something waits for it.", ge=1
    )
    message_limit_bytes: int = _row(64 * 1024, "Largest message that a client may send.", ge=1024)
    ping_s: float = _row(20.0, "How often a WebSocket is pinged; silent for two of them: it is let go.", ge=1)
    heartbeat_s: float = _row(15.0, "Silence on an SSE stream after which a comment is sent.", ge=1)
    access_check_s: float = _row(30.0, "How often an open stream's right to read is checked again.", ge=1)
    log_level: str = _row("INFO", "DEBUG, INFO, WARNING or ERROR.")

    @field_validator(
        *("apps", "field_keys", "allowed_hosts", "allowed_origins", "trusted_proxies", "allowed_networks"),
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("namespaces", mode="before")
    @classmethod
    def _parse(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value or "{}")
        except ValueError as error:
            raise ValueError(f"not JSON ({error})") from None

    @field_validator("namespaces")
    @classmethod
    def _check_names(cls, value: dict[str, Rules]) -> dict[str, Rules]:
        for name in value:
            if name in _RESERVED_NAMESPACES or not _NAMESPACE.fullmatch(name):
                raise ValueError(
                    f"{name!r} cannot be a namespace: use up to 50 letters, digits, hyphens, underscores and "
                    f"periods, and none of {', '.join(sorted(_RESERVED_NAMESPACES))}"
                )
        return value

    @model_validator(mode="after")
    def _check_personal(self) -> Self:
        if self.personal_channels and "" not in self.namespaces:
            raise ValueError('personal_channels: put the namespace "" into HEADWATER_NAMESPACES')
        return self

    @property
    def position_check(self) -> float:
        """Seconds between two comparisons with the journal, the default resolved."""
        return self.position_check_s or (4.0 if self.redis_url else 1.0)


@cache
def conf() -> Conf:
    """The settings of this process, read at the first call."""
    return Conf()


def rows() -> list[tuple[str, str, str]]:
    """(environment name, default, help) of every setting, in reading order."""
    table = []
    for name, field in Conf.model_fields.items():
        alias = field.validation_alias
        env = str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"HEADWATER_{name.upper()}"
        default = field.default
        if isinstance(default, tuple):
            default = ",".join(default)
        elif isinstance(default, Path):
            default = f"{default.name}/"
        elif default == {}:
            default = ""
        table.append((env, str(default), field.description or ""))
    return table
