"""The addresses of the pages. The API, the admin and the streams have theirs in `project`."""

from __future__ import annotations

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from .demo import machine
from .pages.board import board
from .pages.feed import feed

urlpatterns = [
    path("", board, name="board"),
    path("feeds/<str:slug>/", feed, name="feed"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("demo/machine", machine, name="demo_machine"),
]
