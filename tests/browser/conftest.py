"""Real pages of a real server in a real browser: a site with feeds, and tabs that tolerate no error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.serving import Server, Template

# What Chromium says of a server that is away.
BROKEN = ("WebSocket connection to", "Failed to load resource")
# Of one that takes more than the SDK's five seconds to answer, which is tried again.
IMPATIENT = "closed before the connection is established"


class Site:
    """A running server, its API as somebody who may do everything, and that somebody's session."""

    def __init__(self, server: Server, session: str) -> None:
        self.server = server
        self.session = session
        self.call = server.call

    @property
    def url(self) -> str:
        return self.server.url

    def add_feed(self, slug: str, *values: Any, title: str = "", public: bool = True) -> None:
        """A push feed with these publications."""
        self.call("POST", "/feeds", {"slug": slug, "title": title, "public": public})
        for value in values:
            self.publish(slug, value)

    def publish(self, slug: str, value: Any) -> None:
        self.call("POST", f"/feeds/{slug}/publish", {"data": value})


class Tab:
    """A page in a context of its own. Complaints of its console fail the test, unless `expected`."""

    def __init__(self, context: BrowserContext, site: Site) -> None:
        self.context = context
        self.page: Page = context.new_page()
        self.site = site
        self.complaints: list[str] = []
        self.expected = [IMPATIENT]
        self.page.on("console", lambda line: line.type in ("error", "warning") and self._note(line.text))
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self._devtools = context.new_cdp_session(self.page)
        self._devtools.send("Network.enable")
        self.set_network(True)

    def _note(self, text: str) -> None:
        self.complaints.append(text)

    def set_network(self, on: bool) -> None:
        """What the browser believes of the network. It is always told: by itself, on a machine that has only
        loopback, Chromium calls every page offline. Chromium heeds only conditions that hold something back:
        hence the millisecond."""
        self._devtools.send(
            "Network.emulateNetworkConditions",
            {
                "offline": not on,
                "latency": 1,
                "downloadThroughput": -1,
                "uploadThroughput": -1,
                "connectionType": "ethernet" if on else "none",
            },
        )

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.site.url + path)
        return self.page

    def sign_in(self) -> None:
        self.context.add_cookies([{"name": "sessionid", "value": self.site.session, "url": self.site.url}])

    def wait_live(self) -> None:
        self.wait_state("live")

    def wait_state(self, state: str) -> None:
        self.page.wait_for_selector(f"#connection[data-state={state}]")

    def tile(self, slug: str) -> str:
        """What a tile shows as its value."""
        return self.page.locator(f"[data-feed={slug}] .value").inner_text()

    def wait_tile(self, slug: str, text: str) -> None:
        """Until the tile shows exactly this as its value."""
        self.page.wait_for_function(
            "([place, text]) => document.querySelector(place)?.innerText === text",
            arg=[f"[data-feed={slug}] .value", text],
        )

    def unexpected(self) -> list[str]:
        return [text for text in self.complaints if not any(words in text for words in self.expected)]


OpenTab = Callable[..., Tab]


@pytest.fixture
def site(server: Server, serving_template: Template) -> Iterator[Site]:
    """A site without feeds, whose engine polls."""
    yield Site(server, serving_template.session)
    if server.runs:
        server.empty()  # or it would poll what another test listens with next


@pytest.fixture(scope="module")
def browser(chromium: dict[str, Any]) -> Iterator[Browser]:
    """One browser for a module's tests, and gone after them: while it is here its loop counts as running,
    and asynchronous tests could not start theirs."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(**chromium)
        yield running
        running.close()


@pytest.fixture
def tab(browser: Browser, site: Site) -> Iterator[OpenTab]:
    """A factory of tabs; its keywords are those of a browser context, such as `color_scheme`."""
    tabs: list[Tab] = []

    def make(**options: Any) -> Tab:
        context = browser.new_context(**options)
        context.set_default_timeout(60_000)
        tabs.append(Tab(context, site))
        return tabs[-1]

    yield make
    for each in tabs:
        each.context.close()
    complaints = [text for each in tabs for text in each.unexpected()]
    assert not complaints, "\n".join(complaints)
