"""For everybody: WCAG AA by axe on every page, light and dark; the keyboard; a phone's width; no motion."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.serving import ROOT

from .conftest import OpenTab, Site

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
SOURCE = {
    "slug": "broken",
    "url": "http://127.0.0.1:9/",
    "secret_headers": {"Authorization": "x"},
    "feeds": [{"slug": "queue", "title": "Build queue", "public": True}],
}
PAGES = (
    "/",
    "/?q=zzz",
    "/login/",
    "/feeds/lab/",
    "/feeds/object/",
    "/sources/",
    "/sources/new/",
    "/sources/broken/edit/",
    "/sources/broken/delete/",
    "/nothing/here",
)


@pytest.fixture
def full(site: Site) -> Site:
    """A site that has one of everything."""
    site.add_feed("lab", 1, 5, 3, title="Laboratory")
    site.add_feed("object", {"a": 1.5, "b": "x", "c": [1], "d": None, "e": True}, public=False)
    site.add_feed("words", "A long sentence, which does not fit into one line of a tile at all " * 5)
    site.add_feed("list", list(range(100)))
    site.add_feed("empty")
    site.add_feed("w" * 100, 10**12 + 0.5, title="W" * 200)
    site.call("POST", "/sources", SOURCE)
    return site


def settle(page: Page, path: str) -> None:
    """Until the page is live, its chart is drawn and the failing feed has failed."""
    if path in ("/", "/feeds/lab/", "/feeds/object/"):
        page.wait_for_selector("#connection[data-state=live]")
    if path == "/":
        page.wait_for_selector("[data-feed=queue][data-state=failing]")
    if path in ("/feeds/lab/", "/feeds/object/"):
        page.wait_for_selector("#chart canvas")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(full: Site, tab: OpenTab, scheme: str) -> None:
    # Only the test's own script needs the policy to be off; `tab` elsewhere proves that pages keep to it.
    one = tab(color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    one.expected.append("404 (Not Found)")
    one.sign_in()
    found: dict[str, Any] = {}
    for path in PAGES:
        page = one.open(path)
        settle(page, path)
        page.add_script_tag(path=AXE)
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        for violation in result["violations"]:
            found[f"{path}: {violation['id']}"] = [node["html"][:150] for node in violation["nodes"][:3]]
    assert found == {}


@pytest.mark.parametrize("width", [320, 360, 768])
def test_no_page_scrolls_sideways(full: Site, tab: OpenTab, width: int) -> None:
    one = tab(viewport={"width": width, "height": 740})
    one.expected.append("404 (Not Found)")
    one.sign_in()
    wide = {}
    for path in PAGES:
        page = one.open(path)
        settle(page, path)
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if over > 0:
            wide[path] = over
    assert wide == {}


def test_the_keyboard_reaches_everything_and_shows_where_it_is(full: Site, tab: OpenTab) -> None:
    page = tab().open("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.locator(".skip").bounding_box()["y"] >= 0  # type: ignore[index]
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break  # past the last one
        style = page.evaluate(
            """() => {
                const e = document.activeElement;
                const outlines = [getComputedStyle(e), getComputedStyle(e, "::after")];
                return [e.textContent.trim() || e.name || e.id, ...outlines.map((s) => s.outlineStyle)];
            }"""
        )
        assert "solid" in style[1:] or style[0] == "q", f"{style[0]} has no visible focus"
        seen.add(style[0])
    assert {"Board", "Log in", "theme", "Filter", "Laboratory"} <= seen


def test_the_chosen_colours_are_kept_and_there_before_the_first_paint(site: Site, tab: OpenTab) -> None:
    one = tab(color_scheme="light")
    page = one.open("/")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.get_by_role("button", name="Dark colours").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    # Stop everything but the script in the head: the choice must not wait for anything else.
    page.route("**/*.css", lambda route: route.abort())
    one.expected.append("net::ERR_FAILED")
    page.reload(wait_until="commit")
    page.wait_for_selector("html[data-theme=dark]", state="attached")
    page.get_by_role("button", name="Dark colours", pressed=True).wait_for()


def test_nothing_moves_for_those_who_want_no_motion(full: Site, tab: OpenTab) -> None:
    one = tab(reduced_motion="reduce")
    page = one.open("/")
    one.wait_live()
    full.publish("lab", 9)
    one.wait_tile("lab", "9")
    assert page.evaluate("document.getAnimations().length") == 0


def test_the_server_and_the_browser_say_numbers_alike(site: Site, tab: OpenTab) -> None:
    values = [0, 7, -7.5, 999.999, 1234567, 67123.456, 1.23456, 0.0123456, 0.5, 0.99999, 1e-7, 1.23456e20]
    for number, value in enumerate([*values, 10**15 - 1, 99.996, -0.004, 123456.005]):
        site.add_feed(f"n-{number:02}", value)
    plain, live = tab(java_script_enabled=False), tab()
    said = plain.open("/").locator(".number").all_inner_texts()
    page = live.open("/")
    module = page.evaluate(
        "performance.getEntriesByType('resource').map(e => e.name).find(n => /js.format/.test(n))"
    )
    again = page.evaluate(
        """async ([module, slugs]) => {
            const { number } = await import(module);
            const read = async (slug) => (await (await fetch(`/api/feeds/${slug}`)).json()).data;
            return (await Promise.all(slugs.map(read))).map((value) => number(value));
        }""",
        [module, [f"n-{number:02}" for number in range(len(said))]],
    )
    assert said == again
