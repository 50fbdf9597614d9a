"""The first start: an administrator whose password is shown once, and a demo that moves by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import StringIO

import httpx
import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from realtime.conf import conf
from realtime.sources.models import Source
from tests.conftest import MakeServer
from tests.services import free_port, wait_until

FirstStart = Callable[[int], str]
FIRST_START = """
from django.contrib.auth.models import User
from django.core.management import call_command
from realtime.sources.models import Source
User.objects.all().delete()
call_command("first_start", demo=True)
# Tests ask nothing of the public APIs.
Source.objects.exclude(slug="this-machine").update(enabled=False)
"""


@pytest.fixture
def first_start(monkeypatch: pytest.MonkeyPatch) -> Iterator[FirstStart]:
    """`make run`'s first step on this port, in this process; what it said."""

    def run(port: int) -> str:
        monkeypatch.setenv("PORT", str(port))
        monkeypatch.setenv("HEADWATER_ALLOWED_NETWORKS", f"127.0.0.1/32:{port}")
        conf.cache_clear()
        said = StringIO()
        call_command("first_start", "--demo", stdout=said)
        return said.getvalue()

    yield run
    monkeypatch.undo()
    conf.cache_clear()


@pytest.mark.database
def test_the_password_is_shown_once_and_lets_in_and_the_demo_moves(serve: MakeServer) -> None:
    server = serve("--first-start", start=False)
    port = free_port()
    server.env |= {"PORT": str(port), "HEADWATER_ALLOWED_NETWORKS": f"127.0.0.1/32:{port}"}
    password = re.search(r"Password +(\S+)", server.manage("shell", "-v", "0", "-c", FIRST_START))
    assert password is not None
    server.start()
    assert "Password" not in server.output

    with httpx.Client(base_url=server.url, follow_redirects=True, timeout=60) as client:

        def moves() -> bool:
            return all(
                client.get(f"/api/feeds/machine-{name}").json()["offset"] > 0 for name in ("memory", "load")
            )

        wait_until(moves, "the demo has values")
        client.get("/login/")
        form = {
            "username": "admin",
            "password": password.group(1),
            "csrfmiddlewaretoken": client.cookies["csrftoken"],
        }
        assert client.post("/login/", data=form, headers={"Referer": server.url}).status_code == 200
        assert client.get("/admin/").url.path == "/admin/"


@pytest.mark.django_db
def test_the_demo_follows_the_port(first_start: FirstStart) -> None:
    assert "Password" in first_start(8001)
    assert "Password" not in first_start(8002)
    assert Source.objects.get(slug="this-machine").url == "http://127.0.0.1:8002/demo/machine"


@pytest.mark.django_db
def test_a_demo_that_was_deleted_stays_away(first_start: FirstStart) -> None:
    first_start(8001)
    Source.objects.all().delete()
    first_start(8001)
    assert not Source.objects.exists()


@pytest.mark.django_db
def test_a_demo_that_is_not_allowed_says_what_to_set_and_leaves_nothing_half_done() -> None:
    with pytest.raises(CommandError, match="HEADWATER_ALLOWED_NETWORKS"):
        call_command("first_start", "--demo")
    assert not Source.objects.exists()
    assert not get_user_model().objects.exists()
