"""The addresses of the pages. The API, the admin and the streams have theirs in `project`."""

from __future__ import annotations

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from .connection_token import connection_token
from .demo import machine
from .pages.board import board
from .pages.feed import feed
from .pages.icon import icon
from .pages.sources import edit_source, new_source, poll_source, remove_source, sources

urlpatterns = [
    path("", board, name="board"),
    path("feeds/<str:slug>/", feed, name="feed"),
    path("sources/", sources, name="sources"),
    path("sources/new/", new_source, name="new_source"),
    path("sources/<str:slug>/edit/", edit_source, name="edit_source"),
    path("sources/<str:slug>/poll/", poll_source, name="poll_source"),
    path("sources/<str:slug>/delete/", remove_source, name="delete_source"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("connection/token", connection_token, name="connection_token"),
    path("favicon.ico", icon, name="icon"),
    path("demo/machine", machine, name="demo_machine"),
]
