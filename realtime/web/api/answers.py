"""Answers as JSON text, with an ETag on reads. Values are pasted in as the journal has them, never parsed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse
from django.utils.http import parse_etags
from pydantic import BaseModel

JSON = "application/json; charset=utf-8"


def answer(request: HttpRequest, body: BaseModel | str, *, status: int = 200) -> HttpResponse:
    """The body as an answer to this request.

    A GET gets a strong ETag made of the body's bytes, so that it changes with whatever can change, and a 304
    when the client has just that. Caches keep it for this client only and ask each time.
    """
    content = (body if isinstance(body, str) else body.model_dump_json()).encode()
    if request.method not in ("GET", "HEAD"):
        return HttpResponse(content, status=status, content_type=JSON)
    etag = f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}
    known = {each.removeprefix("W/") for each in parse_etags(request.headers.get("If-None-Match", ""))}
    if etag in known or "*" in known:
        return HttpResponse(status=304, headers=headers)
    return HttpResponse(content, status=status, content_type=JSON, headers=headers)


def with_json(body: BaseModel, texts: Mapping[str, str]) -> str:
    """The body as a JSON object that ends in further members, whose values are JSON text already."""
    members = "".join(f',"{name}":{text}' for name, text in texts.items())
    return body.model_dump_json().removesuffix("}") + members + "}"
