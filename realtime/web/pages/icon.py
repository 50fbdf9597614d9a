"""`/favicon.ico`, which browsers ask for beside answers that are no pages of ours."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseRedirect
from django.templatetags.static import static


async def icon(request: HttpRequest) -> HttpResponseRedirect:
    """Where the icon really is; kept for a day, because its name changes with its content."""
    return HttpResponseRedirect(static("img/headwater.svg"), headers={"Cache-Control": "max-age=86400"})
