"""What all pages share: who looks, one hop to the database, and errors as pages."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from urllib.parse import quote

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers

from realtime.errors import BadInput, NotAllowed, NotFound, NotSignedIn, Unavailable
from realtime.feeds.access import ANONYMOUS, Principal, principal_for_session
from realtime.feeds.board import SEARCH_LIMIT
from realtime.feeds.checks import is_printable

SEARCH_CHARACTERS = 180  # percent-encoded: a name has 255

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], Coroutine[Any, Any, HttpResponse]]


def page(view: View[P]) -> View[P]:
    """A view whose errors become pages: the log-in, 400, 403, 404 and 503. No cache shares its answer."""

    @wraps(view)
    async def answer(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            response = await view(request, *args, **kwargs)
        except NotSignedIn:
            response = redirect_to_login(request.get_full_path())
        except NotFound as error:
            raise Http404(error.message) from error
        except NotAllowed as error:
            raise PermissionDenied(error.message) from error
        except BadInput as error:
            response = render(request, "400.html", {"message": error.message}, status=400)
        except Unavailable as error:
            response = render(request, "503.html", {"message": error.message}, status=503)
            response.headers["Retry-After"] = "5"
        response.headers.setdefault("Cache-Control", "private, no-cache")
        patch_vary_headers(response, ("Cookie",))
        return response

    return answer


def session_of(request: HttpRequest) -> str:
    """The session's key as the browser sent it, or an empty text."""
    return request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")


def viewer(session_key: str) -> Principal:
    """Who looks. Sync: the first queries of a page's one unit of work; none for those without a session."""
    return principal_for_session(session_key) if session_key else ANONYMOUS


def manager(session_key: str) -> Principal:
    """Who looks, if they may manage sources. Sync. Raises NotSignedIn for nobody, NotAllowed for others."""
    me = viewer(session_key)
    if me.kind == "anonymous":
        raise NotSignedIn("Log in to manage sources.")
    if not me.may_manage:
        raise NotAllowed("Sources are managed by staff. Ask somebody with staff rights.")
    return me


def search_text(request: HttpRequest) -> str:
    """What `?q=` searches, shortened to what fits into the name of a live query; empty if it is no text."""
    text = str(request.GET.get("q", "")).strip()[:SEARCH_LIMIT]
    if not is_printable(text):
        return ""
    while len(quote(text, safe="")) > SEARCH_CHARACTERS:
        text = text[:-1]
    return text.rstrip()


def page_number(text: Any) -> int:
    """A page's number from the address; 1 for whatever is none."""
    return int(text) if isinstance(text, str) and text.isdecimal() and 0 < len(text) <= 6 and int(text) else 1
