"""A feed's page in a browser: its chart, its history and the lines to copy."""

from __future__ import annotations

from playwright.sync_api import Page

from .conftest import BROKEN, OpenTab, Site

PUBLISH_MANY = """
from realtime.feeds.catalog import find_feed
from realtime.feeds.store import Write, commit
feed = find_feed("lab").id
for start in range(0, 2500, 500):
    commit([Write(feed, str(number)) for number in range(start, start + 500)])
"""


def chart_words(page: Page) -> str:
    return page.locator("#chart").get_attribute("aria-label") or ""


def wait_chart(page: Page, words: str) -> None:
    page.wait_for_selector(f'#chart[aria-label*="{words}"]')


def test_a_numeric_feed_has_a_chart_that_goes_on(site: Site, tab: OpenTab) -> None:
    site.add_feed("lab", 3, 1, 2)
    one = tab()
    page = one.open("/feeds/lab/")
    one.wait_live()
    wait_chart(page, "3 values from 1 to 3, the newest 2")
    assert page.locator("#chart canvas").count() == 1
    site.publish("lab", 7.5)
    wait_chart(page, "4 values from 1 to 7.5, the newest 7.5")
    assert page.locator("#value .number").inner_text() == "7.5"
    for name in ("5 min", "24 h", "all"):
        page.get_by_role("radio", name=name).check()
        wait_chart(page, "4 values")


def test_a_long_history_is_read_page_by_page(site: Site, tab: OpenTab) -> None:
    site.add_feed("lab")
    site.server.manage("shell", "-v", "0", "-c", PUBLISH_MANY)
    page = tab().open("/feeds/lab/")
    wait_chart(page, "2500 values from 0 to 2,499")


def test_fields_of_an_object_are_chosen(site: Site, tab: OpenTab) -> None:
    site.add_feed("lab", {"a": 1, "name": "x", "in": {"b": 5}}, {"a": 2, "name": "x", "in": {"b": 9}})
    one = tab()
    page = one.open("/feeds/lab/")
    wait_chart(page, "from 1 to 2")
    page.get_by_label("Field").select_option("in.b")
    wait_chart(page, "from 5 to 9")
    one.wait_live()
    site.publish("lab", {"a": 2, "name": "x", "in": {"b": 20}})
    wait_chart(page, "from 5 to 20")
    assert '"b": 20' in page.locator("#value").inner_text()


def test_words_have_no_chart(site: Site, tab: OpenTab) -> None:
    site.add_feed("lab", "calm")
    one = tab()
    page = one.open("/feeds/lab/")
    one.wait_live()
    assert not page.locator("#chart-card").is_visible()


def test_the_history_grows_on_top_and_stands_still_where_one_has_leafed_back(
    site: Site, tab: OpenTab
) -> None:
    site.add_feed("lab", *range(25))
    newest, older = tab(), tab()
    newest.open("/feeds/lab/")
    older.open("/feeds/lab/?before=6")
    newest.wait_live()
    older.wait_live()
    site.publish("lab", "new")
    newest.page.locator("#history tr:first-child", has_text='"new"').wait_for()
    assert newest.page.locator("#history tr").count() == 20
    older.page.locator("#value", has_text="new").wait_for()
    assert older.page.locator("#history td:first-child").all_inner_texts() == ["5", "4", "3", "2", "1"]
    newest.page.get_by_role("link", name="Older").click()
    assert newest.page.locator("#history td:first-child").first.inner_text() == "6"


def test_skipped_values_leave_the_past_as_it_is_and_a_reborn_feed_does_not(site: Site, tab: OpenTab) -> None:
    site.add_feed("lab", 3, 1, 2)
    one = tab()
    one.expected += BROKEN
    page = one.open("/feeds/lab/")
    one.wait_live()
    wait_chart(page, "3 values from 1 to 3, the newest 2")
    one.set_network(False)
    one.wait_state("offline")
    # More than is recovered: the page gets the newest one alone.
    site.server.manage("shell", "-v", "0", "-c", PUBLISH_MANY)
    site.publish("lab", 9)
    one.set_network(True)
    wait_chart(page, "4 values from 1 to 9, the newest 9")
    assert page.locator("#history td:first-child").all_inner_texts() == ["2504", "3", "2", "1"]
    one.wait_live()
    one.set_network(False)
    one.wait_state("offline")
    site.call("DELETE", "/feeds/lab")
    site.add_feed("lab", 5)
    one.set_network(True)
    wait_chart(page, "1 values from 5 to 5, the newest 5")
    assert page.locator("#history td:first-child").all_inner_texts() == ["1"]
