"""What triggers tell of rows: values of every type as footprints compare them, and names of every kind."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, models
from django.test.utils import isolate_apps

from realtime.feeds.runtime import Feeds
from realtime.queries import heard as heard_module
from realtime.queries import triggers
from realtime.queries.changes import Change
from realtime.queries.heard import Table
from tests.queries.hearing import Heard, hearing

pytestmark = pytest.mark.django_db(transaction=True)

NUMBER = uuid.UUID("12345678-ABCD-4abc-8def-1234567890ab")
A_DAY = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
# As the database has it.
NAME = "Odd ones, 'quoted'"


def make_odd() -> type[models.Model]:
    with isolate_apps("docs.examples.orders"):

        class Odd(models.Model):  # noqa: DJ008
            number = models.UUIDField(primary_key=True, db_column="The Number")
            truth = models.BooleanField(null=True, db_column="isn't it")
            count = models.BigIntegerField(null=True)
            small = models.CharField(max_length=64, null=True)  # noqa: DJ001 - for the test
            long = models.CharField(max_length=65, null=True)  # noqa: DJ001
            folded = models.CharField(  # noqa: DJ001
                max_length=10,
                null=True,
                db_collation="C" if connection.vendor == "postgresql" else "NOCASE",
            )
            text = models.TextField(null=True)  # noqa: DJ001
            price = models.DecimalField(max_digits=9, decimal_places=2, null=True)
            at = models.DateTimeField(null=True)
            data = models.JSONField(null=True)
            raw = models.BinaryField(null=True)
            other = models.ForeignKey("self", null=True, on_delete=models.CASCADE, db_constraint=False)
            same = models.IntegerField(default=0)

            class Meta:
                app_label = "orders"
                db_table = NAME
                constraints = [models.UniqueConstraint(fields=["count", "small"], name="odd_unique")]

    return Odd


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A table of every type of column, with triggers."""
    model = make_odd()
    table = heard_module._table(model)
    monkeypatch.setattr(triggers, "heard_tables", lambda also=(): [table])
    with connection.schema_editor() as editor:
        editor.create_model(model)
    assert triggers.ensure() == frozenset()
    yield model
    with connection.schema_editor() as editor:
        editor.delete_model(model)
    monkeypatch.undo()
    triggers.install()


@pytest.fixture
async def heard(odd: Any, feeds: Feeds) -> AsyncIterator[Heard]:
    async with hearing(feeds) as heard:
        yield heard


def number_text() -> str:
    return str(NUMBER) if connection.vendor == "postgresql" else NUMBER.hex


def make(odd: Any, **values: Any) -> Any:
    return odd.objects.create(**({"number": NUMBER} | values))


def the_row(change: Change) -> dict[str, str | None]:
    assert change.rows is not None
    (row,) = change.rows
    return dict(row)


async def test_values_are_told_as_footprints_compare_them(heard: Heard, odd: Any, feeds: Feeds) -> None:
    values: dict[str, Any] = {
        "truth": True,
        "count": 2**62 + 1,
        "small": "Zoë's “\\”\n",
        "long": "long",
        "folded": "Folded",
        "text": "text",
        "price": Decimal("1.50"),
        "at": A_DAY,
        "data": {"a": [1, None]},
        "raw": b"\x00\xff",
        "other_id": NUMBER,
    }
    await feeds.database.write(lambda: make(odd, **values))
    assert the_row(await heard.of(NAME)) == {
        "The Number": number_text(),
        "isn't it": "1",
        "count": str(2**62 + 1),
        "small": "Zoë's “\\”\n",
        "other_id": number_text(),
        "same": "0",
    }


async def test_nothing_and_false_are_told_apart(heard: Heard, odd: Any, feeds: Feeds) -> None:
    await feeds.database.write(lambda: make(odd, truth=False))
    row = the_row(await heard.of(NAME))
    assert (row["isn't it"], row["count"], row["small"], row["other_id"]) == ("0", None, None, None)


@pytest.mark.parametrize(
    ("column", "before", "after"),
    [
        ("truth", True, None),
        ("count", None, 0),
        ("small", "", None),
        ("folded", "a", "A"),
        ("text", "a", "b"),
        ("price", Decimal("1.00"), Decimal("1.01")),
        ("at", A_DAY, A_DAY + datetime.timedelta(microseconds=1)),
        ("data", {"a": 1}, {"a": True}),
        ("data", {"a": 1}, {"a": 1.0}),  # equal, to PostgreSQL
        ("raw", b"\x00a", b"\x00b"),
        ("other_id", None, NUMBER),
    ],
)
async def test_a_change_of_any_column_is_told_by_its_name(
    heard: Heard, odd: Any, feeds: Feeds, column: str, before: Any, after: Any
) -> None:
    await feeds.database.write(lambda: make(odd, **{column: before}))
    await heard.of(NAME)
    await feeds.database.write(lambda: odd.objects.update(**{column: after}))
    change = await heard.of(NAME)
    assert change.columns == {{"truth": "isn't it"}.get(column, column)}


async def test_many_columns_and_rows_that_do_not_fit_become_the_table_alone(
    heard: Heard, odd: Any, feeds: Feeds
) -> None:
    rows = [odd(number=uuid.uuid4(), small="ß" * 64, count=number) for number in range(50)]
    await feeds.database.write(lambda: odd.objects.bulk_create(rows))
    change = await heard.of(NAME)
    if connection.vendor == "postgresql":  # 8,000 bytes are too few
        assert change == Change(NAME)
    else:
        assert change.rows is not None
        assert len(change.rows) == 50


@pytest.mark.only("sqlite")  # PostgreSQL has no REPLACE
async def test_a_row_that_is_replaced_is_told(heard: Heard, odd: Any, feeds: Feeds) -> None:
    """By primary key, and by another unique constraint: the row that goes had another primary key."""
    await feeds.database.write(lambda: make(odd, count=1, small="a", truth=True))
    await heard.of(NAME)
    other = uuid.uuid4()

    def replace(number: uuid.UUID) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f'REPLACE INTO "{NAME}" ("The Number", count, small, same) VALUES (%s, 1, \'a\', 3)',
                [number.hex],
            )

    for number, gone in ((NUMBER, "1"), (other, None)):
        await feeds.database.write(replace, number)
        change = await heard.of(NAME)
        assert change.rows is not None
        assert {(row["The Number"], row["isn't it"]) for row in change.rows} == {
            (NUMBER.hex, gone),
            (number.hex, None),
        }


@pytest.mark.only("sqlite")  # PostgreSQL keeps what a column's type says
async def test_bytes_where_text_belongs_fail_no_write(heard: Heard, odd: Any, feeds: Feeds) -> None:
    """SQLite keeps anything in any column, and whoever writes must not suffer from who listens."""

    insert = f'INSERT INTO "{NAME}" ("The Number", small, count, "isn\'t it", same)'
    await feeds.database.write(lambda: sql(f"{insert} VALUES (x'00ff', CAST(x'fffe' AS text), 1.5, 5, 'a')"))
    row = the_row(await heard.of(NAME))
    assert "count" not in row
    assert row["isn't it"] == "1"
    await feeds.database.write(lambda: sql(f'UPDATE "{NAME}" SET count = 9e999'))
    assert await heard.of(NAME) == Change(NAME, frozenset({"count"}))


@pytest.mark.only("postgresql")  # SQLite refuses to drop a column that a trigger names
async def test_a_column_that_is_gone_fails_no_write(heard: Heard, odd: Any, feeds: Feeds) -> None:

    def drop_and_write() -> None:
        with connection.cursor() as cursor:
            cursor.execute(f'ALTER TABLE "{NAME}" DROP COLUMN small')
            cursor.execute(f'INSERT INTO "{NAME}" ("The Number", same) VALUES (%s, 0)', [NUMBER])

    await feeds.database.write(drop_and_write)
    assert await heard.of(NAME) == Change(NAME)
    await feeds.database.write(lambda: sql(f'UPDATE "{NAME}" SET same = 5'))
    assert await heard.of(NAME) == Change(NAME)
    await feeds.database.write(lambda: sql(f'DELETE FROM "{NAME}"'))
    assert await heard.of(NAME) == Change(NAME)


def sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_only_what_footprints_compare_is_told(odd: Any) -> None:
    table: Table = heard_module._table(odd)
    assert set(table.values) == {"The Number", "isn't it", "count", "small", "other_id", "same"}
