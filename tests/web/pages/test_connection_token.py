"""The token that a page connects with: whose it is, for how long, and which pages get one."""

from __future__ import annotations

import time

import pytest
from django.contrib.auth.models import User

from realtime.delivery.centrifuge.page_tokens import PageToken, principal_of_page
from realtime.delivery.centrifuge.tokens import Tokens
from realtime.errors import InvalidToken
from realtime.feeds.runtime import Feeds

from .conftest import Browser

PATH = "/connection/token"


async def token_of(browser: Browser) -> PageToken:
    """What the site gives this browser, read as the connection reads it."""
    response = (await browser.get(PATH)).response
    assert response.status_code == 200
    token = await Tokens().connection(response.json()["token"])
    assert isinstance(token, PageToken)
    return token


async def test_it_is_in_the_name_of_whoever_is_signed_in_for_ten_minutes(
    feeds: Feeds, member: Browser, staff: Browser, stranger: Browser
) -> None:
    read = feeds.database.read
    for browser, name in ((member, "member"), (staff, "staff")):
        token = await token_of(browser)
        assert (await read(principal_of_page, token)).name == name
        assert 590 < token.expires_at - time.time() <= 600
    nobody = await token_of(stranger)
    assert (nobody.user_id, (await read(principal_of_page, nobody)).kind) == ("", "anonymous")
    nobody = await token_of(Browser("a-session-that-is-none"))
    assert nobody.user_id == ""


async def test_who_was_deactivated_gets_nobodys_and_the_token_from_before_is_worth_nothing(
    feeds: Feeds, member: Browser
) -> None:
    before = await token_of(member)
    await User.objects.filter(username="member").aupdate(is_active=False)
    assert (await token_of(member)).user_id == ""
    with pytest.raises(InvalidToken):
        await feeds.database.read(principal_of_page, before)


async def test_no_cache_keeps_it_and_no_page_of_another_site_can_read_it(
    feeds: Feeds, member: Browser
) -> None:
    response = (await member.get(PATH)).response
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Vary"] == "Cookie"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response.headers["Content-Type"] == "application/json"
    # As a page of an origin that may connect asks, in browsers that say from where and in others.
    origin = {"Origin": "https://other.example"}
    for site, status in (("cross-site", 403), ("same-site", 403), ("", 200)):
        fetched = {"Sec-Fetch-Site": site} if site else {}
        with_origin = await member.client.get(PATH, headers=origin | fetched)
        assert with_origin.status_code == status
        assert not [name for name in with_origin.headers if name.lower().startswith("access-control")]
    assert (await member.client.get(PATH, headers={"Sec-Fetch-Site": "same-origin"})).status_code == 200
    assert (await member.post(PATH)).status == 405
