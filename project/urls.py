"""All addresses that Django answers. Streams and sockets are in `project.asgi`."""

from collections.abc import Iterator

from django.apps import AppConfig, apps
from django.contrib import admin
from django.urls import URLResolver, include, path
from django.utils.module_loading import module_has_submodule

from realtime.conf import conf
from realtime.web.api.app import api
from realtime.web.api.server import urlpatterns as server
from realtime.web.health import healthz, readyz


def pages_of_apps() -> Iterator[URLResolver]:
    """Those of HEADWATER_APPS, each under its label."""
    for name in conf().apps:
        config = apps.get_app_config(AppConfig.create(name).label)
        if module_has_submodule(config.module, "urls"):
            yield path(f"{config.label}/", include(f"{config.name}.urls"))


urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include(server)),
    path("api/", api.urls),
    path("healthz", healthz),
    path("readyz", readyz),
    *pages_of_apps(),
    path("", include("realtime.web.urls")),
]
