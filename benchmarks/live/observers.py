"""The common alternative: djangochannelsrestframework's model observers, on the same models of the example.

Written as its documentation has it: a consumer observes the model, groups by the column that watchers filter
by, serializes once at the signal, and each watcher's consumer sends it. It hears what Django's signals tell
in a process that has this module loaded: no `update()`, no `bulk_create`, no raw SQL, no other program.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import django
from django.conf import settings

from benchmarks.fanout.stock import layers

if "OBSERVERS_LAYER" in os.environ:
    import dj_database_url

    settings.configure(
        SECRET_KEY="benchmark",
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "channels",
            "rest_framework",
            "docs.examples.orders",
        ],
        DATABASES={"default": dj_database_url.parse(os.environ["DATABASE_URL"], conn_max_age=None)},
        CHANNEL_LAYERS=layers(os.environ["OBSERVERS_LAYER"], os.environ["REDIS_URL"]),
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()

    from channels.routing import ProtocolTypeRouter
    from djangochannelsrestframework.consumers import AsyncAPIConsumer
    from djangochannelsrestframework.decorators import action
    from djangochannelsrestframework.observer import model_observer
    from rest_framework.serializers import ModelSerializer

    from docs.examples.orders.models import Order

    class OrderSerializer(ModelSerializer):  # type: ignore[misc]
        class Meta:
            model = Order
            fields = ("id", "total", "open", "customer")

    class OrderConsumer(AsyncAPIConsumer):  # type: ignore[misc]
        @model_observer(Order, serializer_class=OrderSerializer)
        async def order_activity(
            self, message: Any, action: str = "", subscribing_request_ids: Any = (), **_: Any
        ) -> None:
            for request_id in subscribing_request_ids:
                await self.reply(action=action, data=message, request_id=request_id)

        @order_activity.groups_for_signal
        def order_activity(self, instance: Order, **_: Any) -> Iterator[str]:
            yield f"customer__{instance.customer_id}"

        @order_activity.groups_for_consumer
        def order_activity(self, customer: int, **_: Any) -> Iterator[str]:
            yield f"customer__{customer}"

        @action()
        async def subscribe_to_orders(self, customer: int, request_id: int, **_: Any) -> tuple[Any, int]:
            await self.order_activity.subscribe(customer=customer, request_id=request_id)
            return {"watches": customer}, 201

    application = ProtocolTypeRouter({"websocket": OrderConsumer.as_asgi()})
