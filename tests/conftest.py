"""What every test can ask for: real Redis, PostgreSQL, `manage.py serve`, and a browser's launch options."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from django.contrib.contenttypes.management import create_contenttypes
from django.db.models.signals import post_migrate

from tests.programs import find_program
from tests.services import Postgres, Redis
from tests.serving import Server, Template, environment
from tests.upstream import Upstream

if TYPE_CHECKING:
    from realtime.feeds.runtime import Feeds
    from tests.on_demand import Shop

MakeServer = Callable[..., Server]
SetNamespaces = Callable[..., None]

# How long an example takes says nothing on a machine that does other work as well.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Tests that use the database in this process run on PostgreSQL too, with those marked by hand.

    Those in which something dies come first, in whatever order: they wait most, and one worker then has them
    all, with one cluster, while the others take the rest of its share.
    """
    for item in items:
        if item.get_closest_marker("django_db"):
            item.add_marker("database")
    vendor = "postgresql" if os.environ.get("HEADWATER_TEST_DATABASE_URL") else "sqlite"
    items[:] = [item for item in items if _runs_on(item, vendor)]
    yield
    items.sort(key=lambda item: "faults" not in item.path.parts)


def _runs_on(item: pytest.Item, vendor: str) -> bool:
    only = item.get_closest_marker("only")
    return only is None or vendor in only.args


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> None:
    """Emptying the database after a test would make every permission anew: longer than most tests take."""
    post_migrate.disconnect(create_contenttypes)
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")


@pytest.fixture(autouse=True)
def forget_content_types() -> None:
    """Those that the test before looked up were emptied with its database, or rolled back."""
    from django.contrib.contenttypes.models import ContentType

    ContentType.objects.clear_cache()


@pytest.fixture
async def feeds() -> AsyncIterator[Feeds]:
    """This loop's feeds, for tests of the database."""
    from realtime.feeds.runtime import Feeds

    current = Feeds.current()
    yield current
    await current.aclose()


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The opener of this test's live queries. Whoever asks waits for the value, on a busy machine too."""
    from realtime.feeds import demand
    from tests.on_demand import Shop

    opener = Shop()
    monkeypatch.setitem(demand._openers, "query", opener)
    monkeypatch.setattr(demand, "CLAIMED_WITHIN_S", 30)
    monkeypatch.setattr(demand, "KEPT_WITHIN_S", 30)
    return opener


@pytest.fixture
def set_namespaces(monkeypatch: pytest.MonkeyPatch) -> SetNamespaces:
    """Sets the namespaces of this test, `_` for the one without a name; to begin with `chat` by default."""
    from realtime.conf import Rules
    from realtime.feeds import channels

    real = channels.conf()

    def set_them(**namespaces: Rules) -> None:
        given = {name.removeprefix("_"): rules for name, rules in namespaces.items()}
        monkeypatch.setattr(channels, "conf", lambda: real.model_copy(update={"namespaces": given}))

    set_them(chat=Rules())
    return set_them


@pytest.fixture(scope="session")
def redis_service() -> Iterator[Redis]:
    """One real redis-server for all tests of this worker. Tests that stop it use `own_redis`."""
    with_redis = Redis()
    try:
        with_redis.start()
        yield with_redis
    finally:
        with_redis.close()


@pytest.fixture
def redis_url(redis_service: Redis) -> str:
    """The worker's Redis, emptied."""
    import redis

    with redis.Redis.from_url(redis_service.url) as client:
        client.flushall()
    return redis_service.url


@pytest.fixture
def own_redis() -> Iterator[Redis]:
    """A running redis-server for this test alone, to be killed and started again."""
    server = Redis()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def postgres_service() -> Iterator[Postgres]:
    """One real PostgreSQL for all tests of this worker."""
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def postgres_url(postgres_service: Postgres) -> str:
    """The worker's PostgreSQL; its database is `postgres`, and tests may create more."""
    return postgres_service.url


@pytest.fixture(scope="session")
def serving_template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    folder = tmp_path_factory.mktemp("template")
    return Template(folder, os.environ.get("HEADWATER_TEST_DATABASE_URL", ""))


@pytest.fixture
def serve(serving_template: Template, tmp_path: Path) -> Iterator[MakeServer]:
    """A factory of real servers: `serve("--no-engine", REDIS_URL=…)` returns one that answers.

    start=False    returns it before it is started, to run commands on its database first
    like=server    a second process on the same data folder and database
    """
    servers: list[Server] = []

    def make(*args: str, start: bool = True, like: Server | None = None, **env: str) -> Server:
        folder = tmp_path / f"server-{len(servers)}"
        if like is None:
            database = serving_template.copy(folder)
            settings = environment(folder, **(database | env))
        else:
            folder.mkdir()
            settings = like.env | {"PORT": "0"} | env
        server = Server(folder, settings, args, token=serving_template.token)
        servers.append(server)
        if start:
            server.start()
        return server

    yield make
    failures = []
    for server in servers:
        try:
            server.close()
        except AssertionError as failure:
            failures.append(str(failure))
    assert not failures, "\n".join(failures)


@pytest.fixture(scope="session")
def shared_server(serving_template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What `server` lends to one test after the other."""
    folder = tmp_path_factory.mktemp("shared") / "server"
    database = serving_template.copy(folder)
    server = Server(folder, environment(folder, **database), token=serving_template.token)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """A running server with its engine, without feeds: for tests that need no settings of their own.

    All tests of a worker share it, because a start costs a second. A test may kill it and start it again.
    """
    if not shared_server.runs:
        shared_server.start()
    shared_server.empty()
    yield shared_server
    shared_server.check()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A local HTTP server that answers as the test tells it: well, badly, slowly, not at all."""
    with Upstream() as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> dict[str, Any]:
    """Launch options for playwright: this machine's Chromium, which asks nothing of the network by itself."""
    quiet = ["background-networking", "component-update", "sync", "quic", "gpu"]
    flags = [f"--disable-{name}" for name in quiet] + ["--no-first-run"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    return {"executable_path": find_program("chromium"), "headless": True, "args": flags}
