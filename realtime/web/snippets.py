"""Ready-to-copy lines that read one feed from elsewhere: curl, websocat, JavaScript, Python."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Snippet:
    """What it is for, and the lines."""

    title: str
    text: str


def snippets(base: str, slug: str, *, public: bool) -> tuple[Snippet, ...]:
    """`base` is this site's address without the last slash. Private feeds need a token: a variable."""
    slug = quote(slug, safe="")  # a channel's name may hold anything
    socket = f"ws{base.removeprefix('http')}/ws/feeds/{slug}/"
    header = "" if public else '-H "Authorization: Bearer $TOKEN" '
    query = "" if public else "?token=$TOKEN"
    from_code = "" if public else "?token=YOUR_TOKEN"
    return (
        Snippet("curl: the value now", f"curl {header}{base}/api/feeds/{slug}"),
        Snippet("curl: every change (SSE)", f"curl -N {header}{base}/feeds/{slug}/events"),
        Snippet("websocat", f'websocat "{socket}{query}"'),
        Snippet(
            "JavaScript",
            f'const socket = new WebSocket("{socket}{from_code}");\n'
            "socket.onmessage = ({ data }) => console.log(JSON.parse(data));",
        ),
        Snippet(
            "Python (pip install websockets)",
            "from websockets.sync.client import connect\n\n"
            f'with connect("{socket}{from_code}") as socket:\n'
            "    for message in socket:\n"
            "        print(message)",
        ),
    )
