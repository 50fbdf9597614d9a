"""One error shape for all that can go wrong under `/api/`: `{"error": {"code", "message"[, "field"]}}`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from realtime.conf import conf
from realtime.delivery.codes import error_body, internal_error, refusal_of
from realtime.errors import BadInput, Conflict, HeadwaterError, NotFound, TooLarge, Unavailable

from .answers import JSON

logger = logging.getLogger(__name__)

PROBLEMS_NAMED = 5
RETRY_AFTER_S = 2
# What the API's operations call their body; a client never sees the name.
BODY = "payload"


def refuse(error: HeadwaterError) -> HttpResponse:
    """The error as an HTTP answer."""
    status = 409 if isinstance(error, Conflict) else refusal_of(error).status
    response = HttpResponse(error_body(error), status=status, content_type=JSON)
    response["Cache-Control"] = "no-store"
    if isinstance(error, Unavailable):
        response["Retry-After"] = str(RETRY_AFTER_S)
    if status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="headwater"'
    return response


def refuse_method(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """A 405 in the API's own shape, with the methods that would do."""
    allowed = ", ".join(sorted(response["Allow"].split(", ")))
    error = BadInput(f"{request.method} is not possible here, only {allowed}.")
    error.code = "method_not_allowed"
    refused = refuse(error)
    refused.status_code = 405
    refused["Allow"] = allowed
    return refused


def no_such_path() -> NotFound:
    """For paths under `/api/` that are nothing."""
    return NotFound("There is nothing at this address. /api/docs lists what there is.")


def explain(request: HttpRequest, error: Any) -> HttpResponse:
    """Any exception as an answer. What nobody foresaw is logged, and the client learns nothing of it."""
    known = _translated(error)
    if known is None:
        logger.error("api_failed %s %s", request.method, request.path, exc_info=error)
        known = internal_error()
    return refuse(known)


def install(api: NinjaAPI) -> None:
    """Make `explain` the answer to every exception, in place of ninja's own handlers."""
    for kind in (Exception, Http404, HttpError, ValidationError):
        api.add_exception_handler(kind, explain)


def _translated(error: Exception) -> HeadwaterError | None:
    match error:
        case HeadwaterError():
            return error
        case ValidationError():
            return _bad_fields(error)
        case HttpError() if isinstance(error.__cause__, HeadwaterError):
            return error.__cause__  # the body could not be parsed
        case RequestDataTooBig():
            return too_large()
        case UnreadablePostError():
            return BadInput("body: it broke off before its end.", field="body")
        case HttpError() | SuspiciousOperation() | BadRequest():
            return BadInput("body: cannot be read as JSON in UTF-8.", field="body")
        case Http404():
            return no_such_path()
    return None


def too_large() -> TooLarge:
    """For a body past the site's limit."""
    return TooLarge(f"body: at most {conf().body_limit_bytes:,} bytes.", field="body")


def _bad_fields(error: ValidationError) -> BadInput:
    problems = {_field(each["loc"]): str(each["msg"]) for each in error.errors}
    named = [f"{field}: {problem}." for field, problem in problems.items()][:PROBLEMS_NAMED]
    return BadInput(" ".join(named), field=next(iter(problems), None))


def _field(place: Iterable[str | int]) -> str:
    """`("body", "payload", "feeds", 0, "slug")` as `feeds.0.slug`; the whole body as `body`."""
    source, *path = [str(part) for part in place]
    if path[:1] == [BODY]:
        path = path[1:]
    return ".".join(path)[:200] or source
