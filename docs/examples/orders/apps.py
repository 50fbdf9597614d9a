from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "docs.examples.orders"
    label = "orders"
