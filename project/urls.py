"""All addresses that Django answers. Streams and sockets are in `project.asgi`."""

from django.contrib import admin
from django.urls import include, path

from realtime.web.api.app import api
from realtime.web.api.server import urlpatterns as server
from realtime.web.health import healthz, readyz

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include(server)),
    path("api/", api.urls),
    path("healthz", healthz),
    path("readyz", readyz),
    path("", include("realtime.web.urls")),
]
