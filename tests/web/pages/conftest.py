"""Pages as browsers without JavaScript get them: through the whole site, by three kinds of people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpResponse
from django.test import AsyncClient, Client

from realtime.feeds.runtime import Feeds


class _Reader(HTMLParser):
    """What a person can read, and the attributes of every element."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._silent += tag in ("script", "style", "title")

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("script", "style", "title")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words.append(data)


@dataclass(frozen=True)
class Page:
    """An answer, as text with single spaces and as elements."""

    response: HttpResponse
    status: int
    text: str
    elements: list[tuple[str, dict[str, str]]]

    def having(self, name: str) -> list[dict[str, str]]:
        """The attributes of all elements that have this one."""
        return [attributes for _, attributes in self.elements if name in attributes]

    def field(self, name: str) -> dict[str, str]:
        """The form field of that name."""
        (found,) = (each for each in self.having("name") if each["name"] == name)
        return found


class Browser:
    """One person's browser. `sessionid` is the key of the session, or empty."""

    def __init__(self, sessionid: str) -> None:
        self.sessionid = sessionid
        self.client = AsyncClient()
        if sessionid:
            self.client.cookies["sessionid"] = sessionid

    async def get(self, path: str) -> Page:
        return _page(await self.client.get(path))

    async def post(self, path: str, data: dict[str, object] | None = None) -> Page:
        return _page(await self.client.post(path, data or {}))


def _page(response: HttpResponse) -> Page:
    reader = _Reader()
    reader.feed(response.content.decode())
    return Page(response, response.status_code, " ".join(" ".join(reader.words).split()), reader.elements)


@pytest.fixture
async def feeds(transactional_db: None) -> AsyncIterator[Feeds]:
    """This loop's feeds, closed before the loop ends."""
    current = Feeds.current()
    yield current
    await current.aclose()


def _session(name: str, *, staff: bool) -> str:
    client = Client()
    client.force_login(User.objects.create_user(name, is_staff=staff))
    return client.cookies["sessionid"].value


@pytest.fixture
def stranger() -> Browser:
    return Browser("")


@pytest.fixture
def member(transactional_db: None) -> Browser:
    return Browser(_session("member", staff=False))


@pytest.fixture
def staff(transactional_db: None) -> Browser:
    return Browser(_session("staff", staff=True))


@pytest.fixture
def around_an_evaluation() -> int:
    """What an evaluation costs besides what it reads: PostgreSQL is told where its moment begins and ends."""
    return 3 if connection.vendor == "postgresql" else 0
