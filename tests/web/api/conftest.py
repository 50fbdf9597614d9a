"""The API as clients see it: requests through the whole site, and everybody who could send one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.test.client import AsyncClientHandler

from realtime.feeds.access import create_token
from realtime.feeds.runtime import Feeds

CSRF = "c" * 32


@dataclass(frozen=True)
class Answer:
    """What came back; `json` is None where there was no body."""

    response: HttpResponse
    status: int
    json: Any

    @property
    def error(self) -> dict[str, str]:
        """The error, whose shape is the same everywhere."""
        assert set(self.json) == {"error"}
        error: dict[str, str] = self.json["error"]
        assert set(error) in ({"code", "message"}, {"code", "message", "field"})
        assert error["message"]
        return error


@dataclass(frozen=True)
class Api:
    """Sends requests as one of `people`; `body` is sent as JSON, bytes as they are."""

    site: AsyncClientHandler
    people: dict[str, dict[str, str]]

    async def call(
        self, method: str, path: str, body: Any = None, *, who: str = "staff", **headers: str
    ) -> Answer:
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = self.people[who] | {name.replace("_", "-"): value for name, value in headers.items()}
        client = AsyncClient()
        client.handler = self.site
        client.cookies.load(given.pop("Cookie", ""))
        response = await client.generic(method, path, content, content_type="application/json", headers=given)
        return Answer(
            response, response.status_code, json.loads(response.content) if response.content else None
        )

    async def get(self, path: str, *, who: str = "staff", **headers: str) -> Answer:
        return await self.call("GET", path, who=who, **headers)

    async def post(self, path: str, body: Any = None, *, who: str = "staff") -> Answer:
        return await self.call("POST", path, body, who=who)

    async def patch(self, path: str, body: Any, *, who: str = "staff") -> Answer:
        return await self.call("PATCH", path, body, who=who)

    async def delete(self, path: str, *, who: str = "staff") -> Answer:
        return await self.call("DELETE", path, who=who)


@pytest.fixture(scope="session")
def site() -> AsyncClientHandler:
    """The site, put together once."""
    return AsyncClientHandler(enforce_csrf_checks=True)


@pytest.fixture
def people(transactional_db: None) -> dict[str, dict[str, str]]:
    """Headers of staff, a member, a stranger and one token of each scope."""
    everybody = {"stranger": {}, "forger": {"Authorization": f"Bearer hw_{'x' * 43}"}}
    for name, staff in (("staff", True), ("member", False)):
        browser = Client()
        browser.force_login(User.objects.create_user(name, is_staff=staff))
        session = browser.cookies["sessionid"].value
        everybody[name] = {"Cookie": f"sessionid={session}; csrftoken={CSRF}", "X-CSRFToken": CSRF}
    everybody["staff without CSRF"] = {"Cookie": everybody["staff"]["Cookie"]}
    for scope in ("read", "publish", "manage"):
        _, token = create_token(scope, [scope])
        everybody[f"{scope} token"] = {"Authorization": f"Bearer {token}"}
    return everybody


@pytest.fixture
async def feeds(transactional_db: None) -> AsyncIterator[Feeds]:
    """This loop's feeds, closed before the loop ends."""
    current = Feeds.current()
    yield current
    await current.aclose()


@pytest.fixture
def api(site: AsyncClientHandler, people: dict[str, dict[str, str]], feeds: Feeds) -> Api:
    return Api(site, people)
