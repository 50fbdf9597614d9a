"""All addresses that Django answers. Streams and sockets are in `project.asgi`."""

from django.contrib import admin
from django.urls import include, path

from realtime.web.api.app import api

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", api.urls),
    path("", include("realtime.web.urls")),
]
