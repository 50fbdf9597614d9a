"""The admin: every table is there, secrets are not, and what is saved obeys the catalogs."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from realtime.feeds.access import create_token, principal_for_token
from realtime.feeds.catalog import create_feed
from realtime.feeds.models import ApiToken, Demand, Feed, JournalEntry
from realtime.feeds.runtime import publish
from realtime.sources.catalog import FeedDraft, SourceDraft, create_source, read_source
from realtime.sources.models import EngineSeen, Source

pytestmark = pytest.mark.django_db

PRICE = SourceDraft(
    "price",
    "https://upstream.example/",
    secret_headers={"Authorization": "Bearer s3cret"},
    feeds=(FeedDraft("price", "Price", "usd", True),),
)
SOURCE_FORM = {
    "slug": "price",
    "title": "",
    "url": "https://upstream.example/",
    "method": "GET",
    "body": "",
    "headers": "{}",
    "secrets": "",
    "interval_s": "5",
    "timeout_s": "10",
    "format": "json",
    "feeds": "price: usd",
    "enabled": "on",
}


@pytest.fixture
def browser() -> Client:
    """Signed in as a superuser."""
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    return client


def page(browser: Client, path: str) -> str:
    response = browser.get(f"/admin/realtime/{path}")
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def saved(browser: Client, path: str, form: dict[str, Any]) -> str:
    """The page after saving."""
    response = browser.post(f"/admin/realtime/{path}", form, follow=True)
    assert response.redirect_chain, _errors(response.content.decode())
    return html.unescape(response.content.decode())


def refused(browser: Client, path: str, form: dict[str, Any]) -> str:
    """What the page says when nothing was saved."""
    response = browser.post(f"/admin/realtime/{path}", form)
    assert response.status_code == 200
    return _errors(response.content.decode())


def _errors(content: str) -> str:
    return html.unescape(" ".join(re.findall(r'<ul class="errorlist.*?</ul>', content, re.DOTALL)))


def test_every_table_can_be_looked_at(browser: Client) -> None:
    create_source(PRICE)
    create_feed("lab")
    publish("lab", {"celsius": 21.5})
    create_token("sensor", ["publish"])
    EngineSeen.objects.create(name="engine-1", seen_at=timezone.now())
    for table, shown, row in (
        ("feed", "lab", Feed.objects.get(slug="lab")),
        ("source", "price", Source.objects.get()),
        ("journalentry", '{"celsius":21.5}', JournalEntry.objects.get()),
        ("apitoken", "sensor", ApiToken.objects.get()),
        ("extraction", "usd", Source.objects.get().extractions.get()),
        ("engineseen", "engine-1", EngineSeen.objects.get()),
    ):
        assert shown in page(browser, f"{table}/")
        page(browser, f"{table}/{row.pk}/change/")
        page(browser, f"{table}/?q=x" if table != "engineseen" else f"{table}/")


def test_what_the_machinery_writes_cannot_be_edited(browser: Client) -> None:
    create_feed("lab")
    publish("lab", 1)
    seen = EngineSeen.objects.create(name="engine-1")
    entry = JournalEntry.objects.get()
    for path in (f"journalentry/{entry.pk}", f"engineseen/{seen.pk}"):
        assert browser.post(f"/admin/realtime/{path}/change/", {}).status_code == 403
        assert browser.post(f"/admin/realtime/{path}/delete/", {"post": "yes"}).status_code == 403
    assert browser.get("/admin/realtime/journalentry/add/").status_code == 403
    assert JournalEntry.objects.count() == 1


def test_a_feed_is_made_changed_and_deleted(browser: Client) -> None:
    saved(browser, "feed/add/", {"slug": "lab", "title": "", "retention_count": "5", "recovery": "stream"})
    feed = Feed.objects.get()
    assert (feed.slug, feed.title, feed.kind, feed.retention_count) == ("lab", "lab", "push", 5)
    publish("lab", 1)
    switches = dict.fromkeys(("public", "latest_only", "presence", "join_leave", "client_publish"), "on")
    saved(browser, f"feed/{feed.pk}/change/", {"title": "Lab", "recovery": "cache"} | switches)
    feed.refresh_from_db()
    assert (feed.presence, feed.join_leave, feed.client_publish, feed.recovery) == (True, True, True, "cache")
    assert (feed.title, feed.public, feed.retention_count, feed.offset) == ("Lab", True, None, 1)
    assert feed.latest_only
    saved(browser, f"feed/{feed.pk}/delete/", {"post": "yes"})
    assert not Feed.objects.exists()


def test_a_channel_is_shown_and_deleted_and_never_changed(browser: Client) -> None:
    channel = Feed.objects.create(slug="chat:room", title="chat:room", kind=Feed.Kind.CHANNEL)
    page(browser, f"feed/{channel.pk}/change/")
    assert browser.post(f"/admin/realtime/feed/{channel.pk}/change/", {"title": "x"}).status_code == 403
    saved(browser, f"feed/{channel.pk}/delete/", {"post": "yes"})
    assert not Feed.objects.exists()


def test_a_live_query_is_shown_and_deleted_and_never_changed(browser: Client) -> None:
    feed = Feed.objects.create(slug="query:open?customer=42", title="Orders", kind=Feed.Kind.QUERY)
    Demand.objects.create(
        feed=feed, base=feed.slug, wanted_until=timezone.now(), engine="host:1:abc", reason="no such column"
    )
    listed = page(browser, "demand/")
    for text in (feed.slug, "host:1:abc", "no such column"):
        assert text in listed
    path = f"/admin/realtime/demand/{feed.pk}/"
    assert browser.get(path + "change/").status_code == 200
    for edit in (browser.post(path + "change/", {"base": "x"}), browser.post(path + "delete/", {})):
        assert edit.status_code == 403
    path = f"/admin/realtime/feed/{feed.pk}/"
    assert browser.post(path + "change/", {"title": "Mine"}).status_code == 403
    browser.post(path + "delete/", {"post": "yes"})
    assert not Feed.objects.exists()
    assert not Demand.objects.exists()


def test_a_publication_meanwhile_is_not_undone_by_saving_a_feed(browser: Client) -> None:
    create_feed("lab")
    pk = Feed.objects.get().pk
    page(browser, f"feed/{pk}/change/")
    position = publish("lab", 1)
    given = {"title": "Lab", "recovery": "stream", "offset": "0", "epoch": "x", "state": "failing"}
    saved(browser, f"feed/{pk}/change/", given)
    feed = Feed.objects.get()
    assert (feed.epoch, feed.offset, feed.state) == (position.epoch, 1, "fresh")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"slug": "new"}, "address of its own"),
        ({"slug": "No!"}, "lower-case letters"),
        ({"slug": "taken"}, "exists already"),
        ({"slug": "lab", "retention_count": "0"}, "number of publications from 1"),
        ({"slug": "lab", "retention_age_s": "nan"}, "Enter a number"),
    ],
)
def test_a_wrong_feed_is_refused(browser: Client, form: dict[str, str], said: str) -> None:
    create_feed("taken")
    assert said in refused(browser, "feed/add/", {"title": "", "recovery": "stream"} | form)
    assert Feed.objects.count() == 1


def test_a_feed_of_a_source_is_deleted_with_it_alone(browser: Client) -> None:
    create_source(PRICE)
    create_feed("lab")
    feed, lab = Feed.objects.get(slug="price"), Feed.objects.get(slug="lab")
    assert browser.post(f"/admin/realtime/feed/{feed.pk}/delete/", {"post": "yes"}).status_code == 403
    both = {"action": "delete_selected", "_selected_action": [feed.pk, lab.pk], "post": "yes"}
    browser.post("/admin/realtime/feed/", both)
    assert Feed.objects.count() == 2
    saved(browser, "feed/", both | {"_selected_action": [lab.pk]})
    saved(browser, f"source/{Source.objects.get().pk}/delete/", {"post": "yes"})
    assert not Feed.objects.exists()
    assert not Source.objects.exists()


def test_a_source_is_made_by_the_catalogs_rules(browser: Client) -> None:
    form = SOURCE_FORM | {"secrets": "Authorization: Bearer s3cret\nX-Key: k", "headers": '{"Accept": "*/*"}'}
    saved(browser, "source/add/", form | {"feeds": "price: usd\nall\n"})
    draft = read_source("price").draft
    assert draft.feeds == (FeedDraft("price", "price", "usd"), FeedDraft("all", "all", ""))
    assert (draft.title, draft.interval_s, draft.headers) == ("price", 5.0, {"Accept": "*/*"})
    source = Source.objects.get()
    assert source.secret_headers == {"Authorization": "Bearer s3cret", "X-Key": "k"}
    shown = page(browser, f"source/{source.pk}/change/")
    assert "Authorization" in shown
    assert "s3cret" not in shown
    assert "price: usd" in shown


def test_changing_a_source_keeps_secrets_and_feeds_and_polls_again(browser: Client) -> None:
    create_source(PRICE)
    Source.objects.update(etag='"1"', failures=3, next_poll_at=None)
    source = Source.objects.get()
    saved(
        browser, f"source/{source.pk}/change/", SOURCE_FORM | {"slug": "prices", "secrets": "Authorization"}
    )
    source.refresh_from_db()
    assert (source.slug, source.etag, source.failures) == ("prices", "", 0)
    assert source.next_poll_at is not None
    assert source.secret_headers == {"Authorization": "Bearer s3cret"}
    assert read_source("prices").draft.feeds == PRICE.feeds
    without = {name: value for name, value in SOURCE_FORM.items() if name != "enabled"}
    saved(browser, f"source/{source.pk}/change/", without)
    assert Feed.objects.get().state == "paused"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "http://127.0.0.1:1/"}, "private or reserved"),
        ({"interval_s": "0.5"}, "1 to 86400"),
        ({"headers": '["a"]'}, '{"Name": "value"}'),
        ({"headers": '{"A": 1}'}, '{"Name": "value"}'),
        ({"headers": "{"}, "valid JSON"),
        ({"secrets": "Authorization"}, "none is stored"),
        ({"feeds": "price: usd ||"}, "0.expression"),
        ({"feeds": "lab"}, "a feed named lab exists already"),
        ({"feeds": ""}, "required"),
        ({"slug": "try"}, "address of its own"),
    ],
)
def test_a_wrong_source_is_refused_at_its_field(browser: Client, change: dict[str, str], said: str) -> None:
    create_feed("lab")
    assert said in refused(browser, "source/add/", SOURCE_FORM | change)
    assert not Source.objects.exists()
    assert Feed.objects.count() == 1


def test_sources_are_polled_now_by_an_action(browser: Client) -> None:
    create_source(PRICE)
    Source.objects.update(next_poll_at=None)
    source = Source.objects.get()
    saved(browser, "source/", {"action": "poll_selected", "_selected_action": [source.pk]})
    source.refresh_from_db()
    assert source.next_poll_at is not None


def test_a_token_is_shown_once(browser: Client) -> None:
    form = {"name": "sensor", "scopes": ["read", "publish"], "expires_at_0": "", "expires_at_1": ""}
    shown = saved(browser, "apitoken/add/", form)
    found = re.search(r"hw_[\w-]{43}", shown)
    assert found is not None
    assert principal_for_token(found[0]).scopes == {"read", "publish"}
    row = ApiToken.objects.get()
    assert row.created_by is not None
    again = page(browser, f"apitoken/{row.pk}/change/") + page(browser, "apitoken/")
    assert found[0] not in again
    assert row.digest not in again


def test_a_token_is_revoked_and_keeps_its_digest(browser: Client) -> None:
    row, _ = create_token("sensor", ["read"])
    saved(browser, f"apitoken/{row.pk}/change/", {"name": "old", "scopes": ["manage"], "revoked": "on"})
    changed = ApiToken.objects.get()
    assert (changed.name, changed.scopes, changed.revoked) == ("old", ["manage"], True)
    assert changed.digest == row.digest


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"name": "sensor", "scopes": ["read"]}, "already"),
        ({"name": "other"}, "required"),
        ({"name": "other", "scopes": ["all"]}, "valid choice"),
        (
            {"name": "other", "scopes": ["read"], "expires_at_0": "2020-01-01", "expires_at_1": "00:00"},
            "future",
        ),
    ],
)
def test_a_wrong_token_is_refused(browser: Client, form: dict[str, Any], said: str) -> None:
    create_token("sensor", ["read"])
    assert said in refused(browser, "apitoken/add/", form)
    assert ApiToken.objects.count() == 1


def test_staff_without_permissions_change_nothing(browser: Client) -> None:
    create_feed("lab")
    member = Client()
    member.force_login(User.objects.create_user("clerk", is_staff=True))
    assert member.get("/admin/realtime/feed/").status_code == 403
    assert member.post("/admin/realtime/feed/add/", {"slug": "x"}).status_code == 403
