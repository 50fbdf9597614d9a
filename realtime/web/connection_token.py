"""`/connection/token`: what a page of this site connects with, in the name of whoever is signed in.

For pages of this site alone: the answer has no CORS headers, whichever origins may connect, and what a
browser sends for a page of another site is refused.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse

from realtime.delivery.centrifuge.page_tokens import mint_page_token
from realtime.errors import HeadwaterError, NotAllowed
from realtime.feeds.access import user_of_session
from realtime.feeds.runtime import Feeds

from .api.errors import refuse
from .pages.page import session_of

# What browsers say of our own pages, and of an address that somebody typed in.
OUR_OWN = ("same-origin", "none")
PRIVATE = {"Cache-Control": "no-store", "Vary": "Cookie", "Cross-Origin-Resource-Policy": "same-origin"}


async def connection_token(request: HttpRequest) -> HttpResponse:
    """`{"token"}`, good for ten minutes; for those who are not signed in, one of nobody in particular."""
    if request.method != "GET":
        return HttpResponseNotAllowed(["GET"])
    try:
        if request.headers.get("Sec-Fetch-Site", "none") not in OUR_OWN:
            raise NotAllowed("This token is for pages of this site.")
        session_key = session_of(request)
        user = await Feeds.current().database.read(user_of_session, session_key) if session_key else None
    except HeadwaterError as error:
        return refuse(error)
    return JsonResponse({"token": mint_page_token(user)}, headers=PRIVATE)
