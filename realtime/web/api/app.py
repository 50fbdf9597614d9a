"""The API put together: its routers, its documentation at `/api/docs`, and one error shape around it all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, NoReturn, cast

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver
from ninja import NinjaAPI, Router
from ninja.parser import Parser

from realtime.feeds.publication import decode_data

from . import errors
from .auth import ANYBODY
from .feeds import router as feeds
from .sources import router as sources

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
View = Callable[..., Awaitable[HttpResponse]]


class StrictParser(Parser):
    """Bodies by the same strict rules as values: no NaN, no infinities, and errors that say where."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        return cast("dict[str, Any]", decode_data(request.body, field="body"))


class HeadwaterAPI(NinjaAPI):
    """Answers HEAD wherever GET is possible, and methods that are not in the API's own error shape."""

    def _get_urls(self) -> list[URLResolver | URLPattern]:
        patterns = super()._get_urls()
        for pattern in patterns:
            if isinstance(pattern, URLPattern) and iscoroutinefunction(pattern.callback):
                pattern.callback = _shaped(pattern.callback)
        return patterns


def _shaped(view: View) -> View:
    @wraps(view)
    async def shaped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method == "HEAD":
            request.method = "GET"  # the server leaves the body out
        response = await view(request, *args, **kwargs)
        return errors.refuse_method(request, response) if response.status_code == 405 else response

    return shaped


nowhere = Router()


@nowhere.api_operation(METHODS, "", auth=ANYBODY, include_in_schema=False)
async def no_root(request: HttpRequest) -> NoReturn:
    raise errors.no_such_path()


@nowhere.api_operation(METHODS, "/{path:rest}", auth=ANYBODY, include_in_schema=False)
async def no_path(request: HttpRequest, rest: str) -> NoReturn:
    raise errors.no_such_path()


api = HeadwaterAPI(
    title="Headwater",
    version="1",
    description='Feeds, publications and sources. Errors are `{"error": {"code", "message", "field"}}`.',
    urls_namespace="api",
    auth=[ANYBODY],
    parser=StrictParser(),
)
errors.install(api)
api.add_router("/feeds", feeds)
api.add_router("/sources", sources)
api.add_router("", nowhere)  # last: whatever no other route knows
