"""One error shape for everything under `/api/`, and never a 500 or a page of HTML."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import AsyncClient

from realtime.feeds.runtime import Feeds
from realtime.feeds.store import Store

from .conftest import Api


@pytest.mark.parametrize(
    "path", ["/api/", "/api/nothing", "/api/feeds/", "/api/feeds/a/b/c", "/api/%00", "/api/fe%C3%BCeds"]
)
async def test_unknown_paths_are_not_found(api: Api, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = await api.call(method, path)
        assert answer.status == 404
        assert answer.error["code"] == "not_found"


@pytest.mark.parametrize(
    "slug", ["%00", "A", "..", "%F0%9F%90%B8", "%FF", "a" * 101, "a%0A", "'--", "-", "%2e%2e"]
)
async def test_names_that_no_feed_can_have_are_not_found(api: Api, slug: str) -> None:
    for path in (f"/api/feeds/{slug}", f"/api/feeds/{slug}/history", f"/api/sources/{slug}"):
        assert (await api.get(path)).status == 404


async def test_a_method_that_is_not_possible_says_which_are(api: Api) -> None:
    answer = await api.call("PUT", "/api/feeds")
    assert answer.status == 405
    assert answer.error["code"] == "method_not_allowed"
    assert answer.response["Allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1e9", "limit"),
        ("skip=-1", "skip"),
        ("skip=99999999999999999999", "skip"),
        ("kind=other", "kind"),
        ("search=%00", "search"),
        (f"search={'x' * 201}", "search"),
    ],
)
async def test_a_wrong_parameter_of_a_list_is_named(api: Api, query: str, field: str) -> None:
    refused = await api.get(f"/api/feeds?{query}")
    assert refused.status == 400
    assert refused.error["field"] == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "slug"),
        ({"slug": "Lab"}, "slug"),
        ({"slug": "new"}, "slug"),
        ({"slug": "a\x00b"}, "slug"),
        ({"slug": 5}, "slug"),
        ({"slug": "lab", "title": "x" * 201}, "title"),
        ({"slug": "lab", "title": "a\x00b"}, "title"),
        ({"slug": "lab", "title": None}, "title"),
        ({"slug": "lab", "public": "yes"}, "public"),
        ({"slug": "lab", "retention_count": 0}, "retention_count"),
        ({"slug": "lab", "retention_count": 2**31}, "retention_count"),
        ({"slug": "lab", "retention_count": True}, "retention_count"),
        ({"slug": "lab", "retention_age_s": 0.5}, "retention_age_s"),
        ({"slug": "lab", "retention_age_s": 10**400}, "retention_age_s"),
        ({"slug": "lab", "colour": "red"}, "colour"),
    ],
)
async def test_a_wrong_field_of_a_feed_is_named_and_nothing_saved(
    api: Api, body: dict[str, Any], field: str
) -> None:
    refused = await api.post("/api/feeds", body)
    assert refused.status == 400
    assert refused.error["field"] == field
    assert (await api.get("/api/feeds")).json["total"] == 0


async def test_half_a_surrogate_pair_in_a_title_is_refused(api: Api) -> None:
    refused = await api.call("POST", "/api/feeds", b'{"slug": "lab", "title": "\\ud800"}')
    assert (refused.status, refused.error["field"]) == (400, "title")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded"]
)
async def test_the_content_type_of_a_body_does_not_matter(api: Api, content_type: str) -> None:
    client = AsyncClient(enforce_csrf_checks=True)
    given = api.people["staff"] | {}
    client.cookies.load(given.pop("Cookie"))
    body = b'{"slug": "lab"}'
    answer = await client.generic("POST", "/api/feeds", body, content_type=content_type, headers=given)
    assert answer.status_code == 201


async def test_what_nobody_foresaw_is_logged_and_not_told(
    api: Api, feeds: Feeds, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(self: Store, feed_id: int, value: object, *, always: bool = False) -> None:
        raise RuntimeError("the secret reason")

    await api.post("/api/feeds", {"slug": "lab"})
    monkeypatch.setattr(Store, "publish", broken)
    answer = await api.post("/api/feeds/lab/publish", {"data": 1})
    assert answer.status == 500
    assert answer.error["code"] == "internal"
    assert "secret" not in answer.error["message"]
    assert "the secret reason" in caplog.text


async def test_the_documentation_is_served_without_inline_script(api: Api) -> None:
    page = (await AsyncClient().get("/api/docs")).content.decode()
    scripts = [tag.split(">", 1) for tag in page.split("<script")[1:]]
    assert scripts
    for attributes, content in scripts:
        inline = content.split("</script>")[0].strip()
        assert not inline or 'type="application/json"' in attributes
        assert "http" not in attributes.replace('src="/static', "")
    assert "<style" not in page


async def test_the_openapi_document_knows_every_operation(api: Api) -> None:
    document = (await AsyncClient().get("/api/openapi.json")).json()
    operations = {
        f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods
    }
    assert operations == {
        "GET /api/feeds",
        "POST /api/feeds",
        "GET /api/feeds/{slug}",
        "PATCH /api/feeds/{slug}",
        "DELETE /api/feeds/{slug}",
        "GET /api/feeds/{slug}/history",
        "POST /api/feeds/{slug}/publish",
        "GET /api/sources",
        "POST /api/sources",
        "POST /api/sources/try",
        "GET /api/sources/{slug}",
        "PATCH /api/sources/{slug}",
        "DELETE /api/sources/{slug}",
        "POST /api/sources/{slug}/poll",
    }
