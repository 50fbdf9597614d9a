"""The servers that tests start are real, and come back on the same port."""

from __future__ import annotations

import os

import psycopg
import pytest
import redis
from django.db import connection

from tests.services import Redis


def test_redis_answers_and_comes_back_on_the_same_port_after_a_kill(own_redis: Redis) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        assert client.ping()
    own_redis.kill()
    own_redis.start()
    with redis.Redis.from_url(own_redis.url) as client:
        assert client.ping()


def test_postgres_answers(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connected:
        assert connected.execute("select 1").fetchone() == (1,)


@pytest.mark.django_db
def test_the_database_is_the_one_that_this_run_asked_for() -> None:
    wanted = "postgresql" if os.environ.get("HEADWATER_TEST_DATABASE_URL") else "sqlite"
    assert connection.vendor == wanted
