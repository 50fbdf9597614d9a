"""Many processes on a PostgreSQL and a Redis of their own, each to be killed and started again at will."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psycopg

from tests.services import Postgres, Redis, wait_until
from tests.serving import Engine, Server, environment, manage
from tests.upstream import Upstream

SOURCES = 20
# The machine of a test may be busy: five processes start side by side.
START_WITHIN_S = 180.0
# In the first web process positions are compared as often as by default, in the second one hardly ever: what
# its clients get while Redis is there came by an announcement.
SELDOM_S = "600"
SETUP = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
from realtime.feeds.access import create_token
from realtime.feeds.models import Feed
from tests.sources.rows import make_source
for number in range({sources}):
    slug = f"s{{number:02}}"
    make_source(slug, url=f"{upstream}/counter/{{slug}}", interval_s=1, timeout_s=1, enabled=False)
Feed.objects.update(public=True)
print("token:", create_token("test", ["read", "publish", "manage"])[1])
"""


class Cluster:
    """Two web processes, three engines, and `SOURCES` paused sources named s00, s01… on a local upstream.

    A commit is on disk, as far as a killed PostgreSQL is concerned, before it is acknowledged.
    """

    def __init__(self, folder: Path) -> None:
        self.postgres = Postgres("synchronous_commit=on")
        self.redis = Redis()
        self.upstream = Upstream().start()
        env = {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.redis.url}
        # What is found was told: nothing is evaluated again because of its age.
        env["HEADWATER_QUERY_RECHECK_S"] = "3600"
        self._env = environment(folder, **env)
        webs = [("web1", {}), ("web2", {"HEADWATER_POSITION_CHECK_S": SELDOM_S})]
        self.webs = [self._process(folder / name, Server, extra) for name, extra in webs]
        self.engines = [self._process(folder / f"engine{n}", Engine, {}) for n in range(1, 4)]

    def _process(self, folder: Path, kind: Callable[..., Any], extra: dict[str, str]) -> Any:
        folder.mkdir()
        args = ("--no-engine",) if kind is Server else ()
        return kind(folder, self._env | extra, args)

    @property
    def processes(self) -> list[Server]:
        return [*self.webs, *self.engines]

    def start(self) -> Self:
        """Start everything; returns when every process answers."""
        self.postgres.start()
        self.redis.start()
        said = self.shell(SETUP.format(sources=SOURCES, upstream=self.upstream.url("")))
        for web in self.webs:
            web.token = said.rpartition("token: ")[2].strip()
        self.mend()
        return self

    def mend(self) -> None:
        """Start whatever does not run, as a test that failed may have left it.

        Returns when both web processes reach the database: one that was restarted costs each a refusal.
        """
        for service in (self.postgres, self.redis):
            if service.process is None:
                service.start()
        launched = [process for process in self.processes if process.process is None]
        for process in launched:
            process.launch()
        for process in launched:
            process.wait(START_WITHIN_S)
        for web in self.webs:
            wait_until(lambda web=web: reaches_the_database(web), "the web process reaches the database")  # type: ignore[misc]

    def close(self) -> None:
        """End everything. Fails if one of the processes has printed a traceback at any time."""
        failures = []
        for process in self.processes:
            try:
                process.close()
            except AssertionError as failure:
                failures.append(str(failure))
        self.upstream.stop()
        self.redis.close()
        self.postgres.close()
        assert not failures, "\n".join(failures)

    @contextmanager
    def polling(self, count: int, *, interval_s: float, timeout_s: float) -> Iterator[dict[str, float]]:
        """Let the engines poll the first `count` sources meanwhile; when each is first due, by name.

        The first polls are spread over an interval that begins in a second.
        """
        self.sql(
            "UPDATE realtime_source SET enabled = true, interval_s = %s, timeout_s = %s, failures = 0,"
            " claimed_until = NULL, claimed_by = '',"
            " next_poll_at = now() + make_interval(secs => 1 + %s * substr(slug, 2)::int / %s::float8)"
            " WHERE slug < %s",
            *(interval_s, timeout_s, interval_s, count, f"s{count:02}"),
        )
        try:
            yield self.next_polls(count)
        finally:
            self.sql("UPDATE realtime_source SET enabled = false")
            idle = "SELECT count(*) = 0 FROM realtime_source WHERE claimed_until > now()"
            wait_until(lambda: self.sql(idle)[0][0], "the polls under way have ended")

    def next_polls(self, count: int) -> dict[str, float]:
        """When the first `count` sources are due next."""
        query = "SELECT slug, extract(epoch FROM next_poll_at)::float8 FROM realtime_source WHERE slug < %s"
        return dict(self.sql(query, f"s{count:02}"))

    def wait_for_polls(self, slugs: Iterable[str], number: int, timeout_s: float = 60) -> None:
        """Return when each of these sources has been asked so many times more."""
        goals = {path: self.upstream.requests[path] + number for path in map("/counter/{}".format, slugs)}
        for path, goal in goals.items():
            self.upstream.wait_for(path, goal, timeout_s)

    def claims(self) -> dict[str, set[str]]:
        """The sources that are being polled now, or will be in a moment, by engine."""
        claims: dict[str, set[str]] = {}
        for slug, engine in self.sql(
            "SELECT slug, claimed_by FROM realtime_source WHERE claimed_until > now()"
        ):
            claims.setdefault(engine, set()).add(slug)
        return claims

    def shell(self, code: str, **env: str) -> str:
        """Run code in a process of its own on the same database; what it printed."""
        return manage(self._env | env, "shell", "-v", "0", "-c", code)

    def sql(self, query: str, *args: Any) -> list[tuple[Any, ...]]:
        """Past all of Headwater's code: the rows of one statement."""
        with psycopg.connect(self.postgres.url, autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(query, args)
            return cursor.fetchall() if cursor.description else []

    def journal(self, slug: str) -> list[tuple[int, str]]:
        """The feed's committed publications in order: offset and JSON text."""
        rows = self.sql(
            'SELECT e."offset", e.data FROM realtime_journalentry e JOIN realtime_feed f ON f.id = e.feed_id'
            ' WHERE f.slug = %s ORDER BY e."offset"',
            slug,
        )
        return [(offset, data) for offset, data in rows]


def reaches_the_database(web: Server) -> bool:
    """Whether this web process answers what it has to read there."""
    try:
        web.call("GET", "/feeds")
    except OSError:
        return False
    return True
