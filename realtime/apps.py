from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class RealtimeConfig(AppConfig):
    name = "realtime"
    verbose_name = "Headwater"

    def ready(self) -> None:
        """Hear what happens to users, and load every installed app's `live.py`."""
        from realtime.delivery.centrifuge import accounts
        from realtime.queries import migrating, signals

        accounts.connect()
        autodiscover_modules("live")
        signals.connect()
        migrating.connect()
