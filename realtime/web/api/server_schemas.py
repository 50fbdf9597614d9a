"""What the server API's methods take. JSON types as they are; what is unknown is refused by its name."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from realtime.feeds.position import MAX_OFFSET

CHANNELS_LIMIT = 1_000
COMMANDS_LIMIT = 1_000

Name = Annotated[str, Field(min_length=1)]


class Request(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Since(Request):
    offset: int = Field(0, ge=0, le=MAX_OFFSET)
    epoch: str = ""


class Content(Request):
    """`b64data` counts when both are given; a `data` of null is a value, a missing one is not."""

    data: Any = None
    b64data: str = ""
    skip_history: bool = False
    tags: dict[str, str] = Field(default_factory=dict)
    idempotency_key: str = ""

    @model_validator(mode="after")
    def _has_content(self) -> Content:
        if not self.b64data and "data" not in self.model_fields_set:
            raise ValueError("give data, or b64data")
        return self


class Publish(Content):
    channel: Name


class Broadcast(Content):
    channels: list[Name] = Field(min_length=1, max_length=CHANNELS_LIMIT)


class OfUser(Request):
    """`client` and `session` are the same thing here."""

    user: Name
    client: str = ""
    session: str = ""


class Subscribe(OfUser):
    channel: Name
    info: Any = None
    b64info: str = ""
    data: Any = None
    b64data: str = ""
    recover_since: Since | None = None
    override: dict[str, Any] | None = None


class Unsubscribe(OfUser):
    channel: str = Field("", description="Empty: all.")


class Farewell(Request):
    code: int = 0
    reason: str = ""


class Disconnect(OfUser):
    whitelist: list[str] = Field(default_factory=list)
    disconnect: Farewell | None = None


class Refresh(OfUser):
    expired: bool = False
    expire_at: int = Field(0, ge=0, description="Unix time in seconds; 0: never.")


class OfChannel(Request):
    channel: Name


class History(OfChannel):
    limit: int = Field(0, ge=-1)
    since: Since | None = None
    reverse: bool = False


class Channels(Request):
    pattern: str = Field("", max_length=255)


class Info(Request):
    pass


class Rpc(Request):
    method: Name
    params: Any = None


class Batch(Request):
    commands: list[dict[str, Any]] = Field(max_length=COMMANDS_LIMIT)
    parallel: bool = False
