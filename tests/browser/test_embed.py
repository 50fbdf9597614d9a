"""Elements on a page of another site: a real page on an origin of its own, with a strict policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
import pytest
from playwright.sync_api import Page, WebSocketRoute

from tests.serving import ROOT, Server, Template, environment

from .conftest import BROKEN, OpenTab, Site, Tab

AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
SECRET = "a secret of at least 32 bytes for this test"
FAILING = {
    "slug": "broken",
    "url": "http://127.0.0.1:9/",
    "feeds": [{"slug": "queue", "title": "Build queue", "public": True}],
}
OpenElements = Callable[..., Tab]


class Host:
    """Another site: `localhost` may connect to Headwater, `127.0.0.1` is one more origin, which may not."""

    def __init__(self) -> None:
        self.body = ""
        self.headwater = ""
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path != "/":
                    self.send_error(404)
                    return
                there = host.headwater
                policy = (
                    f"default-src 'none'; img-src data:; script-src {there}; "
                    f"connect-src {there} {there.replace('http', 'ws')}"
                )
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Security-Policy", policy)
                self.end_headers()
                self.wfile.write(host.page.encode())

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def page(self) -> str:
        script = f'<script type="module" src="{self.headwater}/static/js/embed.js"></script>'
        icon = '<link rel="icon" href="data:,">'
        # Many sites write their language like this, which no browser takes for one.
        return f'<!doctype html><html lang="en_US"><title>Shop</title>{icon}{script}<main>{self.body}</main>'

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


@pytest.fixture(scope="module")
def embedding(
    serving_template: Template, host: Host, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that lets the pages of `localhost` connect."""
    folder = tmp_path_factory.mktemp("embedding") / "server"
    database = serving_template.copy(folder)
    settings = environment(
        folder,
        **database,
        HEADWATER_ALLOWED_ORIGINS=f"http://localhost:{host.port}",
        HEADWATER_TOKEN_SECRET=SECRET,
    )
    server = Server(folder, settings, token=serving_template.token)
    server.start()
    yield server
    server.close()


@pytest.fixture
def site(embedding: Server, serving_template: Template) -> Iterator[Site]:
    if not embedding.runs:
        embedding.start()
    embedding.empty()
    yield Site(embedding, serving_template.session)
    embedding.check()


@pytest.fixture
def elements(site: Site, host: Host, tab: OpenTab) -> OpenElements:
    """Opens a page of the other site that has these elements in it."""

    def open_page(body: str, *, at: str = "localhost", **options: Any) -> Tab:
        host.body, host.headwater = body, site.url
        one = tab(**options)
        one.page.goto(f"http://{at}:{host.port}/")
        return one

    return open_page


def wait_text(page: Page, selector: str, text: str) -> None:
    """Until what a reader sees of the element has this in it. Playwright looks into shadow trees."""
    page.locator(selector, has_text=text).wait_for()


def wait_element(page: Page, selector: str, state: str) -> None:
    page.wait_for_selector(f"{selector}[state={state}]")


def test_elements_are_live_over_one_connection_under_a_strict_policy(
    site: Site, elements: OpenElements
) -> None:
    site.add_feed("lab", 21.25, title="Laboratory")
    site.add_feed("rates", {"rates": {"eur": 1.5}, "of": ["a", "b"]})
    one = elements(
        '<p>Now <live-value feed="lab" label="Laboratory" unit="°C" decimals="1">…</live-value></p>'
        '<live-value id="again" feed="lab"></live-value>'
        '<live-value id="eur" feed="rates" path="rates.eur"></live-value>'
        '<live-value id="of" feed="rates" path="of.1"></live-value>'
        '<live-value id="none" feed="rates" path="no.such">before</live-value>'
        '<live-chart feed="lab" label="Laboratory"></live-chart>'
    )
    page = one.page
    wait_element(page, "#again", "live")
    sockets: list[Any] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    page.reload()
    wait_text(page, "live-value[label]", "Laboratory21.3°C")
    wait_text(page, "#again", "21.25")
    wait_text(page, "#eur", "1.5")
    wait_text(page, "#of", "b")
    wait_text(page, "#none", "\N{EN DASH}")
    site.publish("lab", 22)
    site.publish("rates", {"rates": {"eur": 2}, "of": []})
    wait_text(page, "live-value[label]", "22.0")
    wait_text(page, "#eur", "2")
    chart = page.get_by_role("img", name="Laboratory: 2 values from 21.25 to 22, the newest 22", exact=True)
    chart.locator("canvas").wait_for()
    assert len(sockets) == 1
    assert page.evaluate("typeof Centrifuge") == "undefined"


def test_a_page_whose_origin_may_not_connect_is_told_which_setting_says_so(
    site: Site, host: Host, elements: OpenElements
) -> None:
    site.add_feed("lab", 1)
    one = elements('<live-value feed="lab">before</live-value>', at="127.0.0.1")
    one.expected += [*BROKEN, "blocked by CORS policy", "Headwater:"]
    wait_element(one.page, "live-value", "refused")
    wait_text(one.page, "live-value", "not allowed")
    assert one.page.locator("live-value slot").count() == 1
    (told,) = (text for text in one.complaints if "Headwater:" in text)
    assert f"HEADWATER_ALLOWED_ORIGINS must name http://127.0.0.1:{host.port}." in told


def test_every_trouble_has_a_state_that_is_seen(site: Site, elements: OpenElements) -> None:
    site.add_feed("lab", 1)
    site.add_feed("drop", 1)
    site.add_feed("secret", 1, public=False)
    site.call("POST", "/sources", FAILING)
    slugs = ("lab", "drop", "secret", "queue", "nothing")
    one = elements("".join(f'<live-value id="{slug}" feed="{slug}"></live-value>' for slug in slugs))
    one.expected += BROKEN
    page = one.page
    wait_element(page, "#lab", "live")
    for slug in ("secret", "nothing"):
        wait_element(page, f"#{slug}", "gone")
        wait_text(page, f"#{slug}", "no such feed")
    wait_element(page, "#queue", "failing")
    wait_text(page, "#queue", "failing")
    site.call("DELETE", "/feeds/drop")
    wait_element(page, "#drop", "gone")
    one.set_network(False)
    wait_element(page, "#lab", "offline")
    wait_text(page, "#lab", "offline")
    one.set_network(True)
    wait_element(page, "#lab", "live")
    site.server.kill()
    wait_element(page, "#lab", "reconnecting")
    site.server.start()
    site.publish("lab", 2)
    wait_element(page, "#lab", "live")
    wait_text(page, "#lab", "2")


def test_an_element_says_that_the_connection_is_lost_before_all_feeds_are_back(
    site: Site, elements: OpenElements
) -> None:
    site.add_feed("lab", 1)
    site.add_feed("late", 1)
    one = elements(
        '<live-value id="lab" feed="lab"></live-value><live-value id="late" feed="late"></live-value>'
    )
    one.expected += BROKEN
    page = one.page
    wait_element(page, "#late", "live")

    def lose_one_command(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def pass_on(words: str | bytes) -> None:
            server.send("\n".join(line for line in str(words).split("\n") if "feed:late" not in line))

        socket.on_message(pass_on)

    page.route_web_socket("**/connection/websocket", lose_one_command)
    site.server.kill()
    wait_element(page, "#lab", "reconnecting")
    site.server.start()
    wait_element(page, "#lab", "live")
    assert page.get_attribute("#late", "state") == "reconnecting"
    site.server.kill()
    wait_element(page, "#lab", "reconnecting")


def test_elements_come_and_go_and_change_their_feed(site: Site, elements: OpenElements) -> None:
    site.add_feed("a", "first")
    site.add_feed("b", "second")
    one = elements('<live-value feed="a"></live-value>')
    page = one.page
    wait_text(page, "live-value", "first")
    page.evaluate("document.querySelector('live-value').setAttribute('feed', 'b')")
    wait_text(page, "live-value", "second")
    # Moved, it stays; removed, it is watched no more; back again, it catches up.
    page.evaluate("main = document.querySelector('main'); main.append(main.firstChild)")
    page.evaluate("window.kept = main.firstChild; kept.remove()")
    site.publish("b", "third")
    page.evaluate("main.append(kept)")
    wait_text(page, "live-value", "third")
    page.evaluate("kept.removeAttribute('feed')")
    wait_text(page, "live-value", "no feed named")


def test_a_token_lets_an_element_show_a_private_feed(site: Site, elements: OpenElements) -> None:
    site.add_feed("secret", "hidden", public=False)
    token = jwt.encode({"sub": "", "channel": "feed:secret"}, SECRET, algorithm="HS256")
    one = elements(f'<live-value id="good" feed="secret" token="{token}"></live-value>')
    wait_text(one.page, "#good", "hidden")
    site.publish("secret", "still")
    wait_text(one.page, "#good", "still")
    wrong = jwt.encode({"sub": "", "channel": "feed:secret"}, SECRET * 2, algorithm="HS256")
    two = elements(f'<live-value id="wrong" feed="secret" token="{wrong}"></live-value>')
    wait_text(two.page, "#wrong", "not allowed")
    two.page.evaluate("token => document.getElementById('wrong').setAttribute('token', token)", token)
    wait_text(two.page, "#wrong", "still")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_about_the_elements(site: Site, elements: OpenElements, scheme: str) -> None:
    site.add_feed("lab", 1, 3, 2)
    one = elements(
        '<h1>Shop</h1><live-value feed="lab" label="Now"></live-value>'
        '<live-chart feed="lab" label="Laboratory"></live-chart><live-value feed="none"></live-value>',
        color_scheme=scheme,
        bypass_csp=True,
    )
    one.page.locator("live-chart canvas").wait_for()
    wait_element(one.page, "live-value[feed=none]", "gone")
    one.page.add_script_tag(path=AXE)
    result = one.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    ours = [each for each in result["violations"] if each["id"] != "html-lang-valid"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in ours] == []
