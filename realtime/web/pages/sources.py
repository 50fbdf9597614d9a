"""Sources for those who manage them: the list, the form, poll now, delete."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from realtime.errors import Conflict, InvalidDraft
from realtime.feeds.access import Principal
from realtime.feeds.runtime import Feeds
from realtime.sources.catalog import (
    SourceDraft,
    SourceRow,
    change_source,
    create_source,
    delete_source,
    poll_now,
    read_source,
)
from realtime.sources.stored import SOURCES_PER_PAGE, search_sources

from ..forms import SourceForm, form_of, read_form, with_problems
from .page import manager, page, page_number, search_text, session_of

NEW = SourceDraft(slug="", url="")


@page
async def sources(request: HttpRequest) -> HttpResponse:
    """`/sources/`: every source with its health; `?q=` searches, `?page=` leafs."""
    text, number = search_text(request), page_number(request.GET.get("page"))
    return await Feeds.current().database.read(render_list, request, text, number)


def render_list(request: HttpRequest, text: str, number: int) -> HttpResponse:
    """Sync, one unit of work: the live block on it reads as well."""
    me = manager(session_of(request))
    total = search_sources(text).count()
    pages = max(1, -(-total // SOURCES_PER_PAGE))
    request.principal = me  # type: ignore[attr-defined]
    context = {
        "me": me,
        "here": "sources",
        "total": total,
        "text": text,
        "number": min(number, pages),
        "pages": pages,
    }
    return render(request, "sources.html", context)


@page
async def new_source(request: HttpRequest) -> HttpResponse:
    """`/sources/new/`: the empty form; POST saves it."""
    database = Feeds.current().database
    me = await database.read(manager, session_of(request))
    if request.method != "POST":
        return _form_page(request, me, form_of(NEW), slug="")
    draft, form = read_form(request.POST, ())
    if not form.problems:
        try:
            await database.write(create_source, draft)
        except (InvalidDraft, Conflict) as error:
            form = with_problems(form, draft, _problems(error))
    if form.problems:
        return _form_page(request, me, form, slug="")
    messages.success(request, f"{draft.slug} is saved and being polled.")
    return HttpResponseRedirect(_where_to(draft))


@page
async def edit_source(request: HttpRequest, slug: str) -> HttpResponse:
    """`/sources/<slug>/edit/`: the form as stored, secret values left out; POST saves it."""
    database = Feeds.current().database
    me, row = await database.read(_read_one, session_of(request), slug)
    if request.method != "POST":
        return _form_page(request, me, form_of(row.draft), slug=slug, row=row)
    draft, form = read_form(request.POST, tuple(row.draft.secret_headers))
    if not form.problems:
        try:
            await database.write(change_source, slug, draft)
        except (InvalidDraft, Conflict) as error:
            form = with_problems(form, draft, _problems(error))
    if form.problems:
        return _form_page(request, me, form, slug=slug, row=row)
    messages.success(request, f"{draft.slug} is saved" + (" and being polled." if draft.enabled else "."))
    return HttpResponseRedirect(_where_to(draft))


@page
async def poll_source(request: HttpRequest, slug: str) -> HttpResponse:
    """`/sources/<slug>/poll/`: POST makes it due at once."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    try:
        await Feeds.current().database.write(_poll, session_of(request), slug)
    except Conflict as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"{slug} is being polled now.")
    return HttpResponseRedirect(reverse("sources"))


@page
async def remove_source(request: HttpRequest, slug: str) -> HttpResponse:
    """`/sources/<slug>/delete/`: asks first; POST deletes it with its feeds."""
    database = Feeds.current().database
    me, row = await database.read(_read_one, session_of(request), slug)
    if request.method != "POST":
        return render(request, "source_delete.html", {"me": me, "here": "sources", "draft": row.draft})
    await database.write(delete_source, slug)
    messages.success(request, f"{slug} and its feeds are deleted.")
    return HttpResponseRedirect(reverse("sources"))


def _read_one(session_key: str, slug: str) -> tuple[Principal, SourceRow]:
    return manager(session_key), read_source(slug)


def _poll(session_key: str, slug: str) -> None:
    manager(session_key)
    poll_now(slug)


def _problems(error: InvalidDraft | Conflict) -> dict[str, str]:
    if isinstance(error, InvalidDraft):
        return error.problems
    field = error.field or "slug"
    words = error.message.removeprefix(f"{field}: ")
    return {field: words[:1].upper() + words[1:]}


def _where_to(draft: SourceDraft) -> str:
    """The page of the feed, where its first value is about to appear; the list if there are several."""
    if len(draft.feeds) == 1:
        return reverse("feed", args=[draft.feeds[0].slug])
    return reverse("sources")


def _form_page(
    request: HttpRequest, me: Principal, form: SourceForm, *, slug: str, row: SourceRow | None = None
) -> HttpResponse:
    context = {"me": me, "here": "sources", "form": form, "slug": slug, "row": row}
    response = render(request, "source.html", context, status=400 if form.problems else 200)
    # What was typed as a secret is shown again after a mistake, but kept by no cache.
    response.headers["Cache-Control"] = "no-store"
    return response
