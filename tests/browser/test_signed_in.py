"""A page is live with the rights of whoever is signed in, and ends with them."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route

from .conftest import OpenTab, Site, Tab

PRINT_BEA = """
from django.contrib.auth.models import User
user, _ = User.objects.get_or_create(username="bea")
user.set_password("long enough")
user.is_active = True
user.save()
print(user.pk)
"""
PRINT_SHORT_TOKEN = """
from django.contrib.auth.models import User
from realtime.delivery.centrifuge import page_tokens
page_tokens.LIFETIME_S = 6
print(page_tokens.mint_page_token(User.objects.get(username="ana")))
"""


@pytest.fixture
def bea(site: Site) -> str:
    """A user who may sign in. The key."""
    return site.server.manage("shell", "-v", "0", "-c", PRINT_BEA).strip()


def sign_in_as_bea(tab: Tab) -> Page:
    page = tab.open("/login/")
    page.fill("[name=username]", "bea")
    page.fill("[name=password]", "long enough")
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-feed=secret]")
    tab.wait_live()
    return page


def wait_signed_out(tab: Tab) -> None:
    tab.wait_state("stopped")
    assert tab.page.locator("#connection").inner_text().startswith("stopped: you have signed out")


def test_a_private_feed_is_live_for_those_who_may_read_it(site: Site, tab: OpenTab) -> None:
    site.add_feed("open", 1)
    site.add_feed("secret", 1, public=False)
    stranger, member = tab(), tab()
    member.sign_in()
    for each in (stranger, member):
        each.open()
        each.wait_live()
    site.publish("secret", 2)
    site.publish("open", 2)
    member.wait_tile("secret", "2")
    stranger.wait_tile("open", "2")
    assert stranger.page.locator("[data-feed=secret]").count() == 0


def test_a_new_token_is_fetched_when_the_old_one_ends(site: Site, tab: OpenTab) -> None:
    site.add_feed("secret", 1, public=False)
    one = tab()
    one.sign_in()
    fetched = []

    def give(route: Route) -> None:
        fetched.append(route)
        if len(fetched) == 1:
            route.fulfill(json={"token": short})
        else:
            route.continue_()

    one.page.route("**/connection/token", give)
    short = site.server.manage("shell", "-v", "0", "-c", PRINT_SHORT_TOKEN).strip()
    with one.page.expect_response(lambda answer: "/connection/token" in answer.url and len(fetched) == 2):
        one.open()
    one.wait_live()
    site.publish("secret", 2)
    one.wait_tile("secret", "2")


def test_signing_out_in_another_tab_ends_what_is_live_here(site: Site, tab: OpenTab, bea: str) -> None:
    site.add_feed("secret", 1, public=False)
    one = tab()
    sign_in_as_bea(one)
    other = one.context.new_page()
    other.goto(site.url)
    other.get_by_role("button", name="Log out").click()
    wait_signed_out(one)
    one.page.reload()
    assert one.page.locator("[data-feed=secret]").count() == 0


def test_a_deactivated_user_is_shown_out(site: Site, tab: OpenTab, bea: str) -> None:
    site.add_feed("secret", 1, public=False)
    one, admin = tab(), tab()
    sign_in_as_bea(one)
    admin.sign_in()
    page = admin.open(f"/admin/auth/user/{bea}/change/")
    page.get_by_label("Active").uncheck()
    page.get_by_role("button", name="Save", exact=True).click()
    wait_signed_out(one)
