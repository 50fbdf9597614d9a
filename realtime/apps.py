from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class RealtimeConfig(AppConfig):
    name = "realtime"
    verbose_name = "Headwater"

    def ready(self) -> None:
        """Hear what happens to users, open live queries, and load every installed app's `live.py`."""
        from realtime.delivery.centrifuge import accounts
        from realtime.feeds.demand import register_opener
        from realtime.queries import checks, migrating, signals
        from realtime.queries.names import PREFIX
        from realtime.queries.opening import QueryOpener

        accounts.connect()
        register_opener(PREFIX, QueryOpener())
        autodiscover_modules("live")
        checks.connect()
        signals.connect()
        migrating.connect()
