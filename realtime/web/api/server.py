"""The server API of Centrifugo, for the `cent` client and back ends that speak it: `POST /api/<method>`.

Keys are API tokens, in `X-API-Key`, `Authorization: apikey <token>` or `?api_key=`. Whoever is known is
answered 200, with a `result` or with an `error` of the protocol's numbers.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt
from pydantic import ValidationError

from realtime.delivery.admission import Admission
from realtime.delivery.centrifuge.door import Door
from realtime.delivery.centrifuge.json_codec import CODEC
from realtime.delivery.centrifuge.protocol import ErrorCode, ProtocolError, error_of
from realtime.errors import BadInput, HeadwaterError, NotAllowed, NotSignedIn
from realtime.feeds.access import principal_for_token
from realtime.feeds.publication import decode_data
from realtime.feeds.runtime import Feeds

from . import errors
from . import server_schemas as schemas
from .answers import JSON
from .server_methods import METHODS, Asking, Result, side_by_side, told

T = TypeVar("T", bound=schemas.Request)


@csrf_exempt
async def server_api(request: HttpRequest, method: str) -> HttpResponse:
    """Run one method, or those of a batch. 401 for a key that is missing or no good."""
    if request.method != "POST":
        refused = HttpResponse(status=405, headers={"Allow": "POST"})
        return errors.refuse_method(request, refused)
    feeds = Feeds.current()
    try:
        principal = await Admission.of(feeds).read(principal_for_token, _key(request))
    except NotSignedIn as error:
        return errors.refuse(error)
    except HeadwaterError as error:
        answer: dict[str, Any] = {"error": error_of(error).error}
    else:
        door = Door.of(feeds)
        await door.listen()
        answer = await _run(Asking(door, principal), method, request.body)
    # By the protocol's encoder: what is zero, false or empty is left out, JSON text is pasted in.
    return HttpResponse(CODEC.encode(answer), content_type=JSON)


def _key(request: HttpRequest) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "apikey":
        token = ""
    key = request.headers.get("X-API-Key") or token.strip() or request.GET.get("api_key", "")
    if not key:
        raise NotSignedIn("Send an API token as X-API-Key.", field="token")
    return key


async def _run(asking: Asking, method: str, body: bytes) -> Result:
    """The whole answer to a request. Raises nothing: what went wrong is in it."""
    try:
        content = decode_data(body or b"{}", field="body")
        if method != "batch":
            return {"result": await _run_one(asking, method, content)}
        batch = _checked(schemas.Batch, content)
    except Exception as error:
        return {"error": told(error)}
    return {"replies": await _run_batch(asking, batch)}


async def _run_batch(asking: Asking, batch: schemas.Batch) -> list[Result]:
    """Each command's reply in its place: `{"publish": {…}}`, or its error."""

    async def one(command: dict[str, Any]) -> Result:
        try:
            if len(command) != 1:
                raise BadInput('commands: give each as {"<method>": {…}}.', field="commands")
            ((method, content),) = command.items()
            return {method: await _run_one(asking, method, content)}
        except Exception as error:
            return {"error": told(error)}

    calls = [partial(one, command) for command in batch.commands]
    return await side_by_side(calls) if batch.parallel else [await call() for call in calls]


async def _run_one(asking: Asking, name: str, content: Any) -> Result:
    method = METHODS.get(name)
    if method is None:
        raise ProtocolError(ErrorCode.METHOD_NOT_FOUND)
    if method.scope not in asking.principal.scopes:
        raise NotAllowed(f"This key lacks the scope {method.scope}.")
    return await method.run(asking, _checked(method.request, content))


def _checked(schema: type[T], content: Any) -> T:
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(map(str, problem["loc"])) or "body"
        raise BadInput(f"{field}: {problem['msg']}.", field=field) from None


_methods = "|".join((*METHODS, "batch"))
urlpatterns = [re_path(rf"^(?P<method>{_methods})$", server_api)]
