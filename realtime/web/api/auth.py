"""Who calls the API: a token in `Authorization: Bearer`, or a browser's session with its CSRF token."""

from __future__ import annotations

from typing import Any, Literal, cast

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, QueryDict
from django.middleware.csrf import CsrfViewMiddleware
from ninja.security.base import AuthBase

from realtime.conf import conf
from realtime.errors import NotAllowed, NotSignedIn
from realtime.feeds.access import Principal, principal_of_scope
from realtime.feeds.runtime import Feeds

from .errors import too_large

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Access(AuthBase):
    """Lets a request pass if its caller has the scope; without one, anybody passes and views ask further.

    Decided before the body is looked at. A token that is no good is refused even where nobody need be known.
    """

    openapi_type = "http"
    openapi_scheme = "bearer"
    openapi_description = "A token made by `manage.py create_token` or in the admin; or a browser's session."
    csrf = True  # the documentation's page sends the token along

    def __init__(self, scope: Literal["", "publish", "manage"] = "") -> None:
        super().__init__()
        self._scope = scope

    async def __call__(self, request: HttpRequest) -> Principal:
        # Without the query string: here a token comes in a header only, where no log keeps it.
        headers = {"headers": cast("ASGIRequest", request).scope["headers"]}
        principal = await principal_of_scope(headers, Feeds.current().database)
        self._require_scope(principal)
        if len(request.body) > conf().body_limit_bytes:
            raise too_large()
        if principal.kind == "user" and request.method not in SAFE_METHODS:
            _require_csrf_token(request)
        return principal

    def _require_scope(self, principal: Principal) -> None:
        if self._scope == "" or self._scope in principal.scopes:
            return
        if principal.kind == "anonymous":
            raise NotSignedIn(
                f"Sign in, or send a token with the scope {self._scope} as Authorization: Bearer."
            )
        if principal.kind == "token":
            raise NotAllowed(f"This token lacks the scope {self._scope}.")
        raise NotAllowed("Only staff may do this.")


class _CsrfCheck(CsrfViewMiddleware):
    """Django's check with its reason as the result, in place of a page."""

    def _reject(self, request: HttpRequest, reason: str) -> Any:
        return reason


def _require_csrf_token(request: HttpRequest) -> None:
    """A browser sends its cookies for any page that asks it to; only our own pages know the token."""
    # Looked for in the header alone: the body is JSON, whatever its content type says.
    cast("ASGIRequest", request).POST = QueryDict()
    check = _CsrfCheck(lambda _: HttpResponse())
    check.process_request(request)
    reason = check.process_view(request, _no_view, (), {})
    if reason:
        raise NotAllowed(
            f"{reason} Send the CSRF cookie's value as X-CSRFToken, or a token as Authorization: Bearer."
        )


def _no_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


ANYBODY = Access()
PUBLISHERS = Access("publish")
MANAGERS = Access("manage")


def caller(request: HttpRequest) -> Principal:
    """Who called, as found before the view began."""
    found: Any = request
    return cast("Principal", found.auth)
