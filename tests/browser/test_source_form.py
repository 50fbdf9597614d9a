"""Making a source in the browser: try the URL, click a field, see its value, save, watch it."""

from __future__ import annotations

import re

from tests.upstream import Upstream
from tests.upstream_replies import says

from .conftest import OpenTab, Site


def test_a_source_is_made_by_trying_and_clicking(site: Site, tab: OpenTab) -> None:
    with Upstream() as upstream:
        url = upstream.on("/price", says({"data": {"amount": 67123.45, "odd key": [1, {"deep": "x"}]}}))
        one = tab()
        one.sign_in()
        page = one.open("/sources/new/")
        page.get_by_label("URL").fill(url)
        page.get_by_role("button", name="Try it").click()
        page.get_by_text("HTTP 200").wait_for()
        assert upstream.heard["/price"], "the upstream was really asked"
        page.get_by_role("button", name="amount: 67123.45").click()
        assert page.get_by_label("JMESPath expression").input_value() == "data.amount"
        assert page.locator("[data-found]").inner_text() == "67123.45"
        page.locator("summary", has=page.locator(".key", has_text=re.compile("^1$"))).click()
        page.get_by_role("button", name='deep: "x"').click()
        second = page.locator(".feed-row").nth(1)
        assert second.get_by_label("JMESPath expression").input_value() == 'data."odd key"[1].deep'
        second.get_by_role("button", name="Remove").click()
        row = page.locator(".feed-row")
        row.get_by_label("Name").fill("btc")
        row.get_by_label("public").check()
        page.get_by_label("Poll every (seconds)").fill("1")
        page.locator("#id_slug").fill("prices")
        page.get_by_role("button", name="Save").click()
        page.wait_for_url("**/feeds/btc/")
        page.locator("#value .number", has_text="67,123.45").wait_for()
        upstream.on("/price", says({"data": {"amount": 3}}))
        page.locator("#value .number", has_text="3").wait_for()


def test_what_cannot_be_tried_is_said_at_its_field(site: Site, tab: OpenTab) -> None:
    with Upstream() as upstream:
        upstream.on("/price", says({"amount": 1}))
        one = tab()
        one.expected.append("400 (Bad Request)")
        one.sign_in()
        page = one.open("/sources/new/")
        page.get_by_label("URL").fill("http://169.254.169.254/latest/meta-data")
        page.get_by_role("button", name="Try it").click()
        page.locator("#wrong_url:visible").wait_for()
        page.get_by_label("URL").fill(upstream.url("/status/503"))
        page.get_by_label("URL").press("Enter")
        page.locator("#wrong_url", has_text="503").wait_for()
        page.get_by_label("URL").fill(upstream.url("/price"))
        page.get_by_label("JMESPath expression").fill("nothing.like.it")
        page.get_by_role("button", name="Try it").click()
        page.locator("[data-wrong=expression]:visible").wait_for()
        assert not page.locator("#wrong_url").is_visible()
        page.get_by_label("Format").select_option("prometheus")
        page.get_by_role("button", name="Try it").click()
        page.locator("#wrong_format:visible").wait_for()
        assert '{"amount"' in page.locator("#tree").inner_text()


def test_a_plain_form_saves_without_javascript(site: Site, tab: OpenTab) -> None:
    with Upstream() as upstream:
        one = tab(java_script_enabled=False)
        one.expected.append("400 (Bad Request)")
        one.sign_in()
        page = one.open("/sources/new/")
        page.get_by_label("URL").fill(upstream.url("/counter/plain"))
        page.locator("#feed-0-slug").fill("steps")
        page.locator("#feed-0-expression").fill("value")
        page.locator("#id_slug").fill("No Good")
        page.get_by_role("button", name="Save").click()
        page.locator("#wrong_slug").wait_for()
        assert page.locator("#feed-0-expression").input_value() == "value"
        page.locator("#id_slug").fill("plain")
        page.get_by_role("button", name="Save").click()
        page.wait_for_url("**/feeds/steps/")
        assert "plain is saved" in page.locator(".notice").inner_text()
