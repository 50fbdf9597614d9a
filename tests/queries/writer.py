"""Another program that writes rows: does what its standard input says, a JSON object a line, and answers.

    {"do": "update", "customer": 2, "open": false}   →   {"done": null}

Each `do` is a function of this module. Django's ORM, in a process that serves nothing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup()

from django.db import connection, transaction  # noqa: E402

from docs.examples.orders.models import Customer, Order, Tag  # noqa: E402
from realtime.queries.evaluation import evaluate  # noqa: E402


class Undone(Exception):
    """Rolls a transaction back."""


def start(customers: list[str], tags: list[str]) -> dict[str, list[int]]:
    """Empty the tables, and make these."""
    Order.objects.all().delete()
    Customer.objects.all().delete()
    Tag.objects.all().delete()
    return {
        "customers": [Customer.objects.create(name=name).pk for name in customers],
        "tags": [Tag.objects.create(name=name).pk for name in tags],
    }


def fresh(name: str) -> str:
    """What the query comes to now."""
    return evaluate(name, limit_s=60).outcome.text


def create(**row: Any) -> int:
    """`save` of a new order."""
    return Order.objects.create(**row).pk


def change(order: int, **row: Any) -> None:
    """`save` of an order that is there, if it is."""
    for each in Order.objects.filter(pk=order):
        for name, value in row.items():
            setattr(each, name, value)
        each.save()


def delete(order: int) -> None:
    """`delete` of one instance."""
    for each in Order.objects.filter(pk=order):
        each.delete()


def rename(customer: int, name: str) -> None:
    """`save` of a related row."""
    Customer.objects.get(pk=customer).save()
    each = Customer.objects.get(pk=customer)
    each.name = name
    each.save(update_fields=["name"])


def tag(order: int, tags: list[int]) -> None:
    """Set a many-to-many."""
    for each in Order.objects.filter(pk=order):
        each.tags.set(tags)


def bulk_create(rows: list[dict[str, Any]]) -> None:
    """Many at once."""
    Order.objects.bulk_create([Order(**row) for row in rows])


def update(where: dict[str, Any], **row: Any) -> None:
    """`QuerySet.update`."""
    Order.objects.filter(**where).update(**row)


def delete_all(where: dict[str, Any]) -> None:
    """`QuerySet.delete`."""
    Order.objects.filter(**where).delete()


def raw(sql: str, params: list[Any]) -> None:
    """SQL past the ORM, in a cursor of its own."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def undone(steps: list[dict[str, Any]]) -> None:
    """All of these in a transaction that is rolled back."""
    try:
        with transaction.atomic():
            for step in steps:
                run(step)
            raise Undone
    except Undone:
        return


def nested(outer: list[dict[str, Any]], inner: list[dict[str, Any]]) -> None:
    """These in a transaction that is committed, with others in a savepoint that is rolled back."""
    with transaction.atomic():
        for step in outer[:1]:
            run(step)
        undone(inner)
        for step in outer[1:]:
            run(step)


DEEDS: dict[str, Callable[..., Any]] = {
    deed.__name__: deed
    for deed in (
        *(start, fresh, create, change, delete, rename, tag, bulk_create, update, delete_all, raw),
        *(undone, nested),
    )
}


def run(step: dict[str, Any]) -> Any:
    """Do one step."""
    return DEEDS[step["do"]](**{name: value for name, value in step.items() if name != "do"})


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps({"done": run(json.loads(line))}) + "\n")
        sys.stdout.flush()
