"""What can go wrong, as one tree. Callers branch on the class, never on the text.

    HeadwaterError
    ├── BadInput               what was sent is wrong; names the field
    │   ├── InvalidDraft       a form with one or more wrong fields; has all of them
    │   ├── TooLarge           more bytes than the limit allows
    │   ├── BadPosition        a position that cannot be read as <epoch>:<offset>
    │   ├── BadMessage         a message from a client that no door understands
    │   └── TooManyFeeds       more feeds on one socket than the limit allows
    ├── NotSignedIn            nobody is known by these credentials
    │   ├── InvalidToken       a JSON Web Token that is not one of those who may make them, or says nonsense
    │   └── ExpiredToken       a good one whose time is over; ask for a new one
    ├── NotAllowed             somebody is known, but this is not theirs
    ├── NotFound               no such feed, source or page
    │   └── FeedGone           the feed was deleted while it was watched
    ├── Conflict               it exists already, or is in a state that forbids this
    ├── Unavailable            a service that is needed does not answer; try again
    ├── SlowReader             a client that reads more slowly than its feeds change
    ├── FetchError             one HTTP request to an upstream failed
    │   ├── AddressRefused     the guard does not let requests go there
    │   ├── FetchTimeout       no complete answer within the time limit
    │   ├── ResponseTooLarge   the answer was cut off at the size cap
    │   ├── TooManyRedirects   more hops than allowed, or a loop
    │   ├── BadStatus          an answer whose status is not a success
    │   └── BadResponse        an answer that is not HTTP, is encoded, or broke off
    ├── QueryFailed            a live query has no result now
    │   └── QueryTooSlow       it was cancelled, because it took longer than the limit allows
    ├── UnknownInsides         a library is of a release that this one does not know
    └── ExtractError           the answer came, but the value is not in it

Every class has a stable `code` for machines; the message tells a person what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping


class HeadwaterError(Exception):
    """The root: `code` for machines, `message` for people, `field` where one input is to blame."""

    code = "error"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class BadInput(HeadwaterError):
    """What was sent is wrong. `field` names the input; the message says what would be right."""

    code = "bad_input"


class InvalidDraft(BadInput):
    """One or more fields of a draft are wrong; nothing of it was saved.

    `problems` has every wrong field's path and what would be right, in order; `field` is the first of them.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        message = " ".join(f"{field}: {problem}" for field, problem in problems.items())
        super().__init__(message, field=next(iter(problems), None))
        self.problems = dict(problems)


class TooLarge(BadInput):
    """More bytes than the limit that the message names."""

    code = "too_large"


class BadPosition(BadInput):
    """A position that cannot be read as `<epoch>:<offset>`."""

    code = "bad_position"


class BadMessage(BadInput):
    """A client's message that is no JSON object, or of a type that this door does not know."""

    code = "bad_message"


class TooManyFeeds(BadInput):
    """More feeds on one socket than the limit that the message names."""

    code = "too_many_feeds"


class NotSignedIn(HeadwaterError):
    """Nobody is known by these credentials."""

    code = "not_signed_in"


class InvalidToken(NotSignedIn):
    """A JSON Web Token that nobody signed who may, that says nonsense, or that names somebody who is gone."""

    code = "invalid_token"


class ExpiredToken(NotSignedIn):
    """A JSON Web Token that was good until its time was over. Ask for a new one."""

    code = "expired_token"


class NotAllowed(HeadwaterError):
    """The caller is known, but may not do this."""

    code = "not_allowed"


class NotFound(HeadwaterError):
    """There is nothing by that name, or nothing that the caller may know of."""

    code = "not_found"


class FeedGone(NotFound):
    """The feed was deleted while it was watched."""

    code = "gone"


class Conflict(HeadwaterError):
    """The name is taken, or the thing is in a state that forbids this."""

    code = "conflict"


class Unavailable(HeadwaterError):
    """A service that is needed does not answer now. Try again.

    Something that was to be saved was hardly saved, but the answer to a commit may have been lost.
    """

    code = "unavailable"


class SlowReader(HeadwaterError):
    """Too much waits for this client. It was let go; nothing is lost, it resumes from its last position."""

    code = "slow_reader"


class FetchError(HeadwaterError):
    """One HTTP request to an upstream failed. `retry_after_s` is what the upstream asked for, if it did."""

    code = "fetch_failed"

    def __init__(self, message: str, *, field: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, field=field)
        self.retry_after_s = retry_after_s


class AddressRefused(FetchError):
    """The guard does not let requests go to this address."""

    code = "address_refused"


class FetchTimeout(FetchError):
    """No complete answer within the source's time limit."""

    code = "timeout"


class ResponseTooLarge(FetchError):
    """The answer was cut off at the size cap."""

    code = "response_too_large"


class TooManyRedirects(FetchError):
    """More redirects than allowed, or a loop."""

    code = "too_many_redirects"


class BadStatus(FetchError):
    """The upstream answered, with a status that is not a success."""

    code = "bad_status"

    def __init__(self, status: int, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.status = status


class BadResponse(FetchError):
    """The answer is not HTTP, has a content encoding, or broke off in the middle."""

    code = "bad_response"


class ExtractError(HeadwaterError):
    """The answer came, but it cannot be read as the format says, or the value is not in it."""

    code = "extract_failed"


class QueryFailed(HeadwaterError):
    """A live query has no result now. `message` is for watchers; `reason`, for staff, is all we know."""

    code = "query_failed"

    def __init__(self, message: str, *, field: str | None = None, reason: str = "") -> None:
        super().__init__(message, field=field)
        self.reason = reason or message


class QueryTooSlow(QueryFailed):
    """The query was cancelled in the database: it took longer than the limit that the message names."""

    code = "query_too_slow"


class UnknownInsides(HeadwaterError):
    """A library is of a release whose insides are not the known ones. Nothing was started."""

    code = "unknown_insides"
