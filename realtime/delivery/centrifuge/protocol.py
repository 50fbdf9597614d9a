"""The protocol's numbers: errors in replies, unsubscribe pushes and disconnects, each with a reason to tell.

No reason is empty: the JavaScript SDK ignores a terminal close code that comes without one. Numbers of one's
own are 400 to 1999 for errors and 4000 to 4999 for disconnects. `docs/protocol.md` has the same tables; a
test holds them complete.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Self, TypeVar

from realtime.errors import (
    BadInput,
    Conflict,
    ExpiredToken,
    HeadwaterError,
    InvalidToken,
    NotAllowed,
    NotFound,
    NotSignedIn,
    SlowReader,
    TooManyFeeds,
    Unavailable,
)

REASON_LIMIT_BYTES = 123
_Code = TypeVar("_Code", bound="Code")


class Code(IntEnum):
    """A number of the protocol with its `reason`."""

    reason: str

    def __new__(cls, number: int, reason: str) -> Self:
        code = int.__new__(cls, number)
        code._value_ = number
        code.reason = reason
        return code


class ErrorCode(Code):
    """Why a command failed. The connection goes on."""

    INTERNAL = 100, "internal server error"
    UNAUTHORIZED = 101, "unauthorized"
    UNKNOWN_CHANNEL = 102, "unknown channel"
    PERMISSION_DENIED = 103, "permission denied"
    METHOD_NOT_FOUND = 104, "method not found"
    ALREADY_SUBSCRIBED = 105, "already subscribed"
    LIMIT_EXCEEDED = 106, "limit exceeded"
    BAD_REQUEST = 107, "bad request"
    NOT_AVAILABLE = 108, "not available"
    TOKEN_EXPIRED = 109, "token expired"
    EXPIRED = 110, "expired"
    TOO_MANY_REQUESTS = 111, "too many requests"
    UNRECOVERABLE_POSITION = 112, "unrecoverable position"

    @property
    def temporary(self) -> bool:
        """Whether SDKs try again by themselves, with back-off."""
        return self in (ErrorCode.INTERNAL, ErrorCode.TOO_MANY_REQUESTS)


class UnsubscribeCode(Code):
    """Why the server ended one subscription. From 2500 on SDKs subscribe again, and recover."""

    SERVER = 2000, "unsubscribed by the server"
    INSUFFICIENT_STATE = 2500, "insufficient state"
    EXPIRED = 2501, "subscription expired"
    STATE_INVALIDATED = 2502, "state invalidated"

    @property
    def comes_back(self) -> bool:
        """Whether SDKs subscribe again."""
        return self >= 2500


class DisconnectCode(Code):
    """Why the server ends a connection; also the WebSocket's close code."""

    CLOSED = 3000, "connection closed"
    SHUTDOWN = 3001, "shutdown"
    SERVER_ERROR = 3004, "internal server error"
    EXPIRED = 3005, "connection expired"
    SUBSCRIPTION_EXPIRED = 3006, "subscription expired"
    SLOW = 3008, "slow"
    WRITE_ERROR = 3009, "write error"
    INSUFFICIENT_STATE = 3010, "insufficient state"
    FORCE_RECONNECT = 3011, "force reconnect"
    NO_PONG = 3012, "no pong"
    TOO_MANY_REQUESTS = 3013, "too many requests"
    STATE_INVALIDATED = 3014, "state invalidated"
    INVALID_TOKEN = 3500, "invalid token"
    BAD_REQUEST = 3501, "bad request"
    STALE = 3502, "stale"
    FORCED = 3503, "disconnected by the server"
    CONNECTION_LIMIT = 3504, "connection limit"
    CHANNEL_LIMIT = 3505, "channel limit"
    WRONG_PROTOCOL = 3506, "wrong protocol"
    PERMISSION_DENIED = 3507, "permission denied"
    NOT_AVAILABLE = 3508, "not available"
    TOO_MANY_ERRORS = 3509, "too many errors"

    @property
    def comes_back(self) -> bool:
        """Whether SDKs connect again."""
        return comes_back(self)


def comes_back(number: int) -> bool:
    """Whether SDKs connect again after this disconnect code, one's own numbers included."""
    return not (3500 <= number <= 3999 or 4500 <= number <= 4999)


class ProtocolError(Exception):
    """A command failed: the `error` of its reply.

    message     for people; the code's own reason unless given. Whatever is not Unicode in it is replaced
    temporary   whether the SDK should try again by itself; the code's own rule unless given
    """

    def __init__(self, code: int, message: str = "", *, temporary: bool | None = None) -> None:
        known = _known(ErrorCode, code)
        self.code = code
        self.message = _sendable(message or (known.reason if known else "error"))
        self.temporary = temporary if temporary is not None else known is not None and known.temporary
        super().__init__(f"{code}: {self.message}")

    @property
    def error(self) -> dict[str, Any]:
        """The message `Error`, for a codec's `encode`."""
        error = {"code": int(self.code), "message": self.message}
        return error | {"temporary": True} if self.temporary else error


class Disconnect(Exception):
    """The connection must end with this code and reason.

    reason   the code's own unless given; cut at the 123 bytes that a close frame has room for
    """

    def __init__(self, code: int, reason: str = "") -> None:
        known = _known(DisconnectCode, code)
        self.code = code
        self.reason = _sendable(reason or (known.reason if known else "disconnected"), REASON_LIMIT_BYTES)
        super().__init__(f"{code}: {self.reason}")

    @property
    def push(self) -> dict[str, Any]:
        """The message `Disconnect`, to be pushed just before the close."""
        push = {"code": int(self.code), "reason": self.reason}
        return push | {"reconnect": True} if comes_back(self.code) else push


_ERRORS: dict[type[HeadwaterError], ErrorCode] = {
    BadInput: ErrorCode.BAD_REQUEST,
    TooManyFeeds: ErrorCode.LIMIT_EXCEEDED,
    ExpiredToken: ErrorCode.TOKEN_EXPIRED,
    NotSignedIn: ErrorCode.PERMISSION_DENIED,
    NotAllowed: ErrorCode.PERMISSION_DENIED,
    NotFound: ErrorCode.UNKNOWN_CHANNEL,
    Conflict: ErrorCode.BAD_REQUEST,
}
_DISCONNECTS_FOR_ERRORS: dict[int, DisconnectCode] = {
    ErrorCode.INTERNAL: DisconnectCode.SERVER_ERROR,
    ErrorCode.UNAUTHORIZED: DisconnectCode.PERMISSION_DENIED,
    ErrorCode.PERMISSION_DENIED: DisconnectCode.PERMISSION_DENIED,
    ErrorCode.LIMIT_EXCEEDED: DisconnectCode.CHANNEL_LIMIT,
    ErrorCode.NOT_AVAILABLE: DisconnectCode.NOT_AVAILABLE,
    ErrorCode.TOKEN_EXPIRED: DisconnectCode.EXPIRED,
    ErrorCode.EXPIRED: DisconnectCode.EXPIRED,
    ErrorCode.TOO_MANY_REQUESTS: DisconnectCode.TOO_MANY_REQUESTS,
}
_DISCONNECTS: dict[type[HeadwaterError], DisconnectCode] = {
    BadInput: DisconnectCode.BAD_REQUEST,
    InvalidToken: DisconnectCode.INVALID_TOKEN,
    ExpiredToken: DisconnectCode.EXPIRED,
    NotSignedIn: DisconnectCode.PERMISSION_DENIED,
    NotAllowed: DisconnectCode.PERMISSION_DENIED,
    SlowReader: DisconnectCode.SLOW,
}


def error_of(error: BaseException) -> ProtocolError:
    """What a failed command is answered: the nearest class's code with the error's own message.

    What the table does not know is 100, and nothing of its content is told; so is Unavailable, which says
    that trying again helps.
    """
    if isinstance(error, ProtocolError):
        return error
    if isinstance(error, Unavailable):
        return ProtocolError(ErrorCode.INTERNAL, error.message)
    for kind in type(error).__mro__:
        if isinstance(error, HeadwaterError) and kind in _ERRORS:
            return ProtocolError(_ERRORS[kind], error.message)
    return ProtocolError(ErrorCode.INTERNAL)


def disconnect_of(error: BaseException) -> Disconnect:
    """How a connection ends for this error: with the nearest class's code, else 3004, which comes back.

    A failed command's error ends connections that have no replies, with the error's own message.
    """
    if isinstance(error, Disconnect):
        return error
    if isinstance(error, ProtocolError):
        code = _DISCONNECTS_FOR_ERRORS.get(error.code, DisconnectCode.BAD_REQUEST)
        return Disconnect(code, error.message)
    for kind in type(error).__mro__:
        if kind in _DISCONNECTS:
            return Disconnect(_DISCONNECTS[kind])
    return Disconnect(DisconnectCode.SERVER_ERROR)


def _known(kind: type[_Code], number: int) -> _Code | None:
    return next((code for code in kind if code == number), None)


def _sendable(text: str, limit_bytes: int | None = None) -> str:
    return text.encode("utf-8", "replace")[:limit_bytes].decode(errors="ignore")
