"""The npm client in Chromium, on a page of this site: every transport hears all, also what it missed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.delivery.served import furnish, publish
from tests.serving import ROOT, Server

BUILDS = ROOT / "node_modules" / "centrifuge" / "dist"
OPEN = """
([endpoint, emulationEndpoint, binary, name]) => {
  window.heard = [];
  window.client = new Centrifuge(endpoint, { emulationEndpoint, maxReconnectDelay: 200 });
  const subscription = client.newSubscription(name, { since: { offset: 0, epoch: "" }, delta: "fossil" });
  const read = (data) => (binary ? JSON.parse(new TextDecoder().decode(data)) : data);
  subscription.on("subscribed", ({ recovered }) => heard.push(["subscribed", recovered]));
  subscription.on("publication", ({ data, offset }) => heard.push([offset, read(data)]));
  client.on("connected", ({ transport }) => heard.push(["connected", transport]));
  subscription.subscribe();
  client.connect();
}
"""
TRANSPORTS = ("websocket", "protobuf", "http_stream", "sse")


@pytest.fixture(scope="module")
def page(chromium: dict[str, Any], sdk_server: Server) -> Iterator[Page]:
    """A page. The client's builds are put in by evaluation, which no policy of the page forbids."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**chromium)
        made = browser.new_page()
        made.set_default_timeout(30_000)
        yield made
        browser.close()


def hears(page: Page, *expected: Any) -> None:
    """Until exactly this was heard, in this order; then it is forgotten."""
    page.wait_for_function("count => heard.length >= count", arg=len(expected))
    assert page.evaluate("heard.splice(0)") == [list(each) for each in expected]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_browser_is_told_everything_over_each_transport(page: Page, hub: Server, transport: str) -> None:
    slug = f"f{uuid.uuid4().hex}"
    furnish(hub, slug)
    values = [{"text": "日本 " * 30, "n": number} for number in range(4)]
    publish(hub, hub.token, slug, values[0])
    page.goto(f"{hub.url}/healthz")
    binary = transport == "protobuf"
    page.evaluate((BUILDS / ("centrifuge.protobuf.js" if binary else "centrifuge.js")).read_text())
    endpoint: Any = f"{hub.ws_url}/connection/websocket"
    if transport in ("http_stream", "sse"):
        endpoint = [{"transport": transport, "endpoint": f"{hub.url}/connection/{transport}"}]
    page.evaluate(OPEN, [endpoint, f"{hub.url}/emulation", binary, f"feed:{slug}"])
    name = "websocket" if binary else transport
    hears(page, ("connected", name), ("subscribed", True), (1, values[0]))
    publish(hub, hub.token, slug, values[1])
    hears(page, (2, values[1]))
    page.evaluate("client.disconnect()")
    publish(hub, hub.token, slug, values[2])
    page.evaluate("client.connect()")
    hears(page, ("connected", name), ("subscribed", True), (3, values[2]))
    publish(hub, hub.token, slug, values[3])
    hears(page, (4, values[3]))
    page.evaluate("client.disconnect()")
