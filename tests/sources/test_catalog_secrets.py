"""Secret header values: encrypted at rest, kept when asked to, sent to nobody else and never shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connection

from realtime.errors import InvalidDraft
from realtime.sources import catalog
from realtime.sources.catalog import FeedDraft, SourceDraft
from realtime.sources.models import Source

pytestmark = pytest.mark.django_db

PRICE = SourceDraft("price", "https://upstream.example/v1?a=b", feeds=(FeedDraft("price", expression="usd"),))
SECRET = replace(PRICE, secret_headers={"Authorization": "Bearer s3cret", "X-Key": "k3y"})


def test_secret_values_are_encrypted_at_rest_and_never_come_back() -> None:
    catalog.create_source(SECRET)
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret_headers FROM realtime_source")
        (sealed,) = cursor.fetchone()
    assert "s3cret" not in sealed
    assert "Authorization" not in sealed
    row = catalog.read_source("price")
    assert row.draft.secret_headers == {"Authorization": None, "X-Key": None}
    assert "s3cret" not in repr(row)
    listed, _ = catalog.list_sources(limit=10)
    assert listed == [row]


def test_a_secret_of_none_is_kept_and_one_left_out_is_forgotten() -> None:
    catalog.create_source(SECRET)
    catalog.change_source("price", replace(PRICE, secret_headers={"Authorization": None, "X-New": "n3w"}))
    assert Source.objects.get().secret_headers == {"Authorization": "Bearer s3cret", "X-New": "n3w"}
    catalog.amend_source("price", {"title": "Price"})
    assert Source.objects.get().secret_headers == {"Authorization": "Bearer s3cret", "X-New": "n3w"}
    with pytest.raises(InvalidDraft, match="X-Other"):
        catalog.amend_source("price", {"secret_headers": {"X-Other": None}})


@pytest.mark.parametrize(
    "url", ["https://thief.example/", "http://upstream.example/", "https://upstream.example:8443/"]
)
def test_a_kept_secret_is_not_sent_to_another_server(url: str) -> None:
    catalog.create_source(SECRET)
    with pytest.raises(InvalidDraft) as refused:
        catalog.amend_source("price", {"url": url})
    assert refused.value.field == "secret_headers"
    assert catalog.find_secrets("price", url) == {}
    catalog.amend_source("price", {"url": url, "secret_headers": {"Authorization": "again"}})
    assert Source.objects.get().secret_headers == {"Authorization": "again"}


def test_secrets_that_no_key_opens_hide_nothing_and_are_not_lost_by_the_way(settings: Any) -> None:
    catalog.create_source(SECRET)
    catalog.create_source(SourceDraft("plain", "https://upstream.example/", feeds=(FeedDraft("plain"),)))
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    listed, total = catalog.list_sources(limit=10)
    assert ([row.draft.slug for row in listed], total) == (["plain", "price"], 2)
    with pytest.raises(InvalidDraft) as refused:
        catalog.amend_source("price", {"title": "Price"})
    assert refused.value.field == "secret_headers"
    catalog.amend_source("price", {"secret_headers": {"Authorization": "again"}})
    assert Source.objects.get(slug="price").secret_headers == {"Authorization": "again"}
