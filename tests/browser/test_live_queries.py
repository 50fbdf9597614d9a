"""Pages that show live queries: they change with the rows, and leave what is the reader's alone."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import Page

from tests.upstream import Upstream
from tests.upstream_replies import says

from .conftest import OpenTab, Site, Tab

NEW_CUSTOMER = """
from docs.examples.orders.models import Customer
customer = Customer.objects.create(name="Bakery")
for note in ("bread", "rolls", "cake"):
    customer.orders.create(total="9.50", note=note)
print(customer.pk, *customer.orders.order_by("pk").values_list("pk", flat=True))
"""
CHANGE_ORDERS = """
from docs.examples.orders.models import Order
bread, rolls, cake = {orders}
Order.objects.filter(pk=bread).update(note="white bread", total="3.20")
Order.objects.filter(pk=rolls).delete()
Order.objects.create(customer_id={customer}, total="100.00", note="<i>wedding</i>")
"""


def mark(page: Page) -> None:
    """Notice a reload by the absence of this."""
    page.evaluate("window.kept = true")


def is_kept(page: Page) -> bool:
    return bool(page.evaluate("window.kept"))


def live(tab: OpenTab, path: str) -> Tab:
    """A tab of the administrator's that is live, and was marked."""
    one = tab()
    one.sign_in()
    one.open(path)
    one.wait_live()
    mark(one.page)
    return one


def test_what_another_process_writes_appears_and_what_one_types_stays(site: Site, tab: OpenTab) -> None:
    customer, *orders = map(int, site.server.manage("shell", "-v", "0", "-c", NEW_CUSTOMER).split())
    page = live(tab, f"/orders/{customer}/").page
    page.get_by_text("3 open orders").wait_for()
    bread, _, cake = (page.locator(f"#order-{order}") for order in orders)
    note = cake.get_by_role("textbox")
    note.fill("cake with che")
    note.evaluate("input => input.setSelectionRange(3, 7)")

    site.server.manage("shell", "-v", "0", "-c", CHANGE_ORDERS.format(orders=orders, customer=customer))
    page.get_by_text("100.00").wait_for()
    page.get_by_text("3.20").wait_for()
    page.locator(f"#order-{orders[1]}").wait_for(state="detached")
    assert bread.get_by_role("textbox").input_value() == "white bread"
    assert page.get_by_text("3 open orders").is_visible()
    assert page.get_by_role("textbox").last.input_value() == "<i>wedding</i>"

    assert note.input_value() == "cake with che"
    assert note.evaluate("input => input === document.activeElement")
    assert note.evaluate("input => [input.selectionStart, input.selectionEnd]") == [3, 7]
    page.keyboard.press("End")
    page.keyboard.type("rries")
    assert note.input_value() == "cake with cherries"
    assert is_kept(page)

    # What was typed is saved by the page's own form, and comes back as what is so.
    with page.expect_navigation():
        page.keyboard.press("Enter")
    page.locator(f"#order-{orders[2]} input[value='cake with cherries']").wait_for()


def test_a_source_that_fails_and_recovers_shows_so(site: Site, tab: OpenTab, upstream: Upstream) -> None:
    upstream.on("/price", says({"usd": 1}))
    page = live(tab, "/sources/").page
    page.get_by_text("No sources yet").wait_for()
    source = {"slug": "price", "url": upstream.url("/price"), "interval_s": 1, "feeds": [{"slug": "usd"}]}
    site.call("POST", "/sources", source)
    line = page.locator("#source-price")
    line.get_by_text("fresh").wait_for()
    assert line.get_by_role("link", name="usd").is_visible()
    upstream.on("/price", says("no", status=503))
    line.get_by_text("failing").wait_for()
    line.locator(".health-error", has_text="503").wait_for()
    upstream.on("/price", says({"usd": 2}))
    line.get_by_text("fresh").wait_for()
    line.locator(".health-error").wait_for(state="detached")
    site.call("DELETE", "/sources/price")
    page.get_by_text("No sources yet").wait_for()
    assert is_kept(page)


def test_poll_now_works_from_a_line_that_came_later(site: Site, tab: OpenTab, upstream: Upstream) -> None:
    upstream.on("/price", says({"usd": 1}))
    page = live(tab, "/sources/").page
    source = {"slug": "price", "url": upstream.url("/price"), "interval_s": 3600, "feeds": [{"slug": "usd"}]}
    site.call("POST", "/sources", source)
    page.get_by_role("button", name="Poll now: price").click()
    page.get_by_text("price is being polled now.").wait_for()


def test_tiles_come_and_go_on_an_open_board(site: Site, tab: OpenTab) -> None:
    one = tab()
    page = one.open()
    page.get_by_text("No public feeds").wait_for()
    one.wait_live()
    mark(page)
    site.server.manage("add_feed", "middle", "--public")
    page.locator("[data-feed=middle]").wait_for()
    page.get_by_text("No public feeds").wait_for(state="hidden")
    site.add_feed("alpha", 7, title="Alpha")
    site.add_feed("hidden", 1, public=False)
    site.add_feed("zulu", title="Zulu <3")
    one.wait_tile("alpha", "7")
    page.locator("[data-feed=zulu]").wait_for()
    assert page.get_by_role("heading", level=2).all_inner_texts()[:3] == ["Alpha", "middle", "Zulu <3"]
    assert page.locator(".tile").count() == 3
    page.get_by_text("3 feeds").wait_for()
    for value in ("1", "2"):
        site.publish("zulu", int(value))
        one.wait_tile("zulu", value)
    page.locator("[data-feed=zulu] .spark canvas").wait_for()

    site.call("DELETE", "/feeds/middle")
    page.locator("[data-feed=middle]").wait_for(state="detached")
    site.call("PATCH", "/feeds/zulu", {"title": "Aardvark"})
    page.get_by_role("heading", name="Aardvark").wait_for()
    assert page.get_by_role("heading", level=2).all_inner_texts()[:2] == ["Aardvark", "Alpha"]
    site.call("PATCH", "/feeds/alpha", {"public": False})
    page.locator("[data-feed=alpha]").wait_for(state="detached")
    page.get_by_text("1 feed", exact=True).wait_for()
    site.call("DELETE", "/feeds/zulu")
    page.get_by_text("No public feeds").wait_for()
    assert is_kept(page)


def test_the_board_counts_states_and_marks_what_is_private(site: Site, tab: OpenTab) -> None:
    site.add_feed("lab", 1)
    one = live(tab, "/")
    page = one.page
    page.locator(".states", has_text="1 fresh").wait_for()
    site.add_feed("secret", 1, public=False)
    one.wait_tile("secret", "1")
    assert page.locator("[data-feed=secret] .tag").is_visible()
    assert not page.locator("[data-feed=lab] .tag").is_visible()
    broken = {"slug": "broken", "url": "http://127.0.0.1:9/", "feeds": [{"slug": "queue", "public": True}]}
    site.call("POST", "/sources", broken)
    page.locator("[data-feed=queue][data-state=failing]").wait_for()
    page.locator(".states", has_text="1 failing").wait_for()
    page.locator(".states", has_text="2 fresh").wait_for()
    page.get_by_text("3 feeds").wait_for()


def test_what_is_typed_into_the_filter_holds_for_tiles_that_come(site: Site, tab: OpenTab) -> None:
    site.add_feed("lab-1", 1)
    page = live(tab, "/").page
    page.get_by_role("searchbox").fill("lab")
    site.add_feed("other", 1)
    site.add_feed("lab-2", 2)
    page.locator("[data-feed=lab-2]").wait_for()
    page.get_by_text("3 feeds").wait_for()
    assert page.locator("[data-feed=lab-2]").is_visible()
    assert not page.locator("[data-feed=other]").is_visible()
    page.get_by_text("2 of 3 feeds").wait_for()


FAIL = """
from realtime.feeds.models import Feed
from realtime.feeds.runtime import write_now
from realtime.feeds.store import Health, Write
feed = Feed.objects.get(slug__startswith="query:open-orders?customer={customer}#")
write_now([Write(feed.pk, health=Health("failing", None, None, "The <query> failed."))])
"""


def test_a_block_that_fails_says_so_and_one_that_is_gone_shows_nothing(site: Site, tab: OpenTab) -> None:
    customer = int(site.server.manage("shell", "-v", "0", "-c", NEW_CUSTOMER).split()[0])
    one = live(tab, f"/orders/{customer}/")
    page = one.page
    site.server.manage("shell", "-v", "0", "-c", FAIL.format(customer=customer))
    page.get_by_role("status").get_by_text("The <query> failed.").wait_for()
    assert page.get_by_text("3 open orders").is_visible()
    slug = page.locator("[data-live]").get_attribute("data-live") or ""
    site.call("DELETE", "/feeds/" + quote(slug, safe=""))
    page.get_by_text("This is not shown to you any more.").wait_for()
    assert page.get_by_text("3 open orders").count() == 0
    # It was all that was live on the page.
    one.wait_state("stopped")


class Here:
    """An element on a page of the site, with this in it."""

    def __init__(self, page: Page, html: str) -> None:
        self.page = page
        page.evaluate("html => { document.body.innerHTML = `<div id=here>${html}</div>`; }", html)

    def morph(self, html: str) -> None:
        self.page.evaluate(
            """async (html) => {
              const { morph } = await import("/static/js/morph.js");
              morph(document.getElementById("here"), html);
            }""",
            html,
        )


@pytest.fixture
def page(site: Site, tab: OpenTab) -> Page:
    return tab().open("/login/")


def test_what_was_opened_stays_open(page: Page) -> None:
    here = Here(page, "<details id=a><summary>one</summary>old</details>")
    page.get_by_text("one").click()
    here.morph("<p>before</p><details id=a><summary>one</summary>new</details>")
    assert page.get_by_text("new").is_visible()


@pytest.mark.parametrize(
    "field", ['<input id=a value="{}">', "<textarea id=a>{}</textarea>"], ids=["input", "textarea"]
)
def test_what_was_typed_stays_until_the_server_has_it_too(page: Page, field: str) -> None:
    here = Here(page, field.format("one"))
    box = page.locator("#a")
    here.morph(field.format("two"))
    assert box.input_value() == "two"
    box.fill("mine")
    here.morph("<p>before</p>" + field.format("three"))
    assert box.input_value() == "mine"
    here.morph(field.format("mine"))
    here.morph(field.format("four"))
    assert box.input_value() == "four"


def test_what_was_chosen_stays_until_the_server_has_it_too(page: Page) -> None:
    def fields(checked: bool, chosen: int) -> str:
        options = "".join(f"<option{' selected' * (n == chosen)}>{n}</option>" for n in range(3))
        return f"<input type=checkbox id=a{' checked' * checked}><select id=b>{options}</select>"

    here = Here(page, fields(False, 0))
    box, choice = page.locator("#a"), page.locator("#b")
    here.morph(fields(True, 1))
    assert (box.is_checked(), choice.input_value()) == (True, "1")
    box.uncheck()
    choice.select_option("2")
    here.morph("<p>before</p>" + fields(True, 1))
    assert (box.is_checked(), choice.input_value()) == (False, "2")
    here.morph(fields(False, 2))
    here.morph(fields(True, 0))
    assert (box.is_checked(), choice.input_value()) == (True, "0")
