"""The pages go on by themselves: changes arrive, and whatever the connection does, nothing is missed."""

from __future__ import annotations

from playwright.sync_api import Route, WebSocketRoute

from .conftest import BROKEN, OpenTab, Site


def test_a_change_arrives_on_the_board_without_a_reload(site: Site, tab: OpenTab) -> None:
    site.add_feed("lab", 1, 2)
    site.add_feed("state", "calm")
    one = tab()
    page = one.open()
    page.evaluate("window.kept = true")
    one.wait_live()
    one.wait_tile("lab", "2")
    one.wait_tile("state", "calm")
    site.publish("lab", 1234.5)
    one.wait_tile("lab", "1,234.5")
    site.publish("state", {"a": 1, "b": "x"})
    one.wait_tile("state", "a\n1\nb\nx")
    site.publish("state", ["<b>bold</b>"])
    one.wait_tile("state", "1\n\nitem")
    assert page.evaluate("window.kept")
    assert page.locator("[data-feed=lab] .spark canvas").count() == 1
    page.locator("[data-feed=state] .health-text", has_text="ago").wait_for()


def test_nothing_is_missed_between_rendering_and_connecting(site: Site, tab: OpenTab) -> None:
    site.add_feed("lab", 1)
    one = tab()

    def publish_first(route: Route) -> None:
        # The page is rendered with 1; its script is not even loaded yet.
        site.publish("lab", 2)
        route.continue_()

    one.page.route("**/js/board.*.js", publish_first)
    one.open()
    one.wait_tile("lab", "2")


def test_a_killed_server_shows_and_its_return_catches_up(site: Site, tab: OpenTab) -> None:
    site.add_feed("lab", 1)
    board, feed = tab(), tab()
    for each, path in ((board, "/"), (feed, "/feeds/lab/")):
        each.expected += BROKEN
        each.open(path)
        each.wait_live()
    site.server.kill()
    board.wait_state("reconnecting")
    feed.wait_state("reconnecting")
    site.server.start()
    site.publish("lab", 2)
    site.publish("lab", 3)
    board.wait_live()
    board.wait_tile("lab", "3")
    feed.wait_live()
    feed.page.locator("#value .number", has_text="3").wait_for()
    offsets = feed.page.locator("#history tr td:first-child").all_inner_texts()
    assert offsets == ["3", "2", "1"]


def test_a_frozen_tab_catches_up_when_it_is_seen_again(site: Site, tab: OpenTab) -> None:
    site.add_feed("lab", 1)
    one = tab()
    page = one.open()
    one.wait_live()
    page.evaluate("window.kept = true")
    devtools = one.context.new_cdp_session(page)
    devtools.send("Page.setWebLifecycleState", {"state": "frozen"})
    site.publish("lab", 2)
    site.publish("lab", 3)
    devtools.send("Page.setWebLifecycleState", {"state": "active"})
    one.wait_tile("lab", "3")
    assert page.evaluate("window.kept")


def test_a_socket_that_died_in_its_sleep_is_noticed_at_once(site: Site, tab: OpenTab) -> None:
    site.add_feed("lab", 1)
    one = tab()
    asleep = False
    sockets: list[WebSocketRoute] = []

    def through(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        server = socket.connect_to_server()
        # The first one falls silent in both directions without closing, as after a suspended laptop's NAT.
        mine = len(sockets)
        server.on_message(lambda message: None if asleep and mine == 1 else socket.send(message))
        socket.on_message(lambda message: None if asleep and mine == 1 else server.send(message))

    one.page.route_web_socket("**/connection/websocket", through)
    page = one.open()
    one.wait_live()
    asleep = True
    site.publish("lab", 2)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    # Less than what pings take to notice it, which is 20 s at least.
    one.context.set_default_timeout(15_000)
    one.wait_tile("lab", "2")
    assert len(sockets) >= 2


def test_going_offline_shows_and_coming_back_catches_up(site: Site, tab: OpenTab) -> None:
    site.add_feed("lab", 1)
    one = tab()
    one.expected += BROKEN
    page = one.open()
    one.wait_live()
    one.set_network(False)
    one.wait_state("offline")
    assert page.locator("#connection").inner_text() == "offline"
    site.publish("lab", 2)
    one.set_network(True)
    one.wait_live()
    one.wait_tile("lab", "2")


def test_a_deleted_feed_leaves_the_board_and_the_others_go_on(site: Site, tab: OpenTab) -> None:
    site.add_feed("keep", 1)
    site.add_feed("drop", 1)
    site.add_feed("lose", 1)
    one = tab()
    page = one.open()
    one.wait_live()
    site.call("DELETE", "/feeds/drop")
    page.wait_for_selector("[data-feed=drop]", state="detached")
    # Gone while nobody listened: the page that comes back is refused it, and goes on without it.
    one.expected += BROKEN
    one.set_network(False)
    one.wait_state("offline")
    site.call("DELETE", "/feeds/lose")
    one.set_network(True)
    page.wait_for_selector("[data-feed=lose]", state="detached")
    site.publish("keep", 2)
    one.wait_tile("keep", "2")


def test_where_no_websocket_passes_the_page_is_live_all_the_same(site: Site, tab: OpenTab) -> None:
    site.add_feed("lab", 1)
    one = tab()
    one.expected += BROKEN
    # As a proxy that does not know them.
    one.page.route_web_socket("**/connection/websocket", lambda socket: socket.close(code=1006))
    streams = []
    one.page.on("request", lambda request: "http_stream" in request.url and streams.append(request))
    one.open()
    one.wait_live()
    assert streams
    site.publish("lab", 2)
    one.wait_tile("lab", "2")
    site.server.kill()
    one.wait_state("reconnecting")
    site.server.start()
    site.publish("lab", 3)
    one.wait_live()
    one.wait_tile("lab", "3")


def test_a_value_that_changes_a_little_is_sent_as_a_delta(site: Site, tab: OpenTab) -> None:
    words = "The same sentence at great length. " * 100
    site.add_feed("lab", {"n": 0, "words": words})
    one = tab()
    received: list[str] = []
    one.page.on(
        "websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(str(frame)))
    )
    one.open()
    one.wait_live()
    for number in (1, 2, 3):
        site.publish("lab", {"n": number, "words": words})
        one.page.locator("[data-feed=lab] dd").get_by_text(str(number), exact=True).wait_for()
    # The first one is whole; from then on, only what differs.
    told = [frame for frame in received if '"pub"' in frame and '"channel":"feed:lab"' in frame]
    assert [len(frame) > len(words) for frame in told] == [True, False, False]


def test_the_filter_narrows_the_board_while_typing(site: Site, tab: OpenTab) -> None:
    site.add_feed("cpu", 1, title="Processor")
    site.add_feed("memory", 2, title="Memory")
    one = tab()
    page = one.open()
    one.wait_live()
    page.get_by_role("searchbox").type("PROC")
    page.wait_for_selector("[data-feed=memory]", state="hidden")
    page.get_by_text("1 of 2 feeds").wait_for()
    page.get_by_role("searchbox").fill("zzz")
    page.get_by_text("No feed on this page matches.").wait_for()
    page.get_by_role("searchbox").fill("memory")
    page.get_by_role("searchbox").press("Enter")
    page.wait_for_url("**/?q=memory")
    assert page.locator(".tile").count() == 1


def test_the_board_is_readable_without_javascript(site: Site, tab: OpenTab) -> None:
    site.add_feed("lab", 1, 4, 2)
    one = tab(java_script_enabled=False)
    page = one.open()
    assert one.tile("lab") == "2"
    assert page.locator("[data-feed=lab] .spark svg").is_visible()
    assert not page.locator("#connection").is_visible()
