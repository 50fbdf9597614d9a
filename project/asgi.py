"""The ASGI application: pages and the API by Django, streams and sockets by their own rooms.

Served by `manage.py serve`, and by any ASGI server: `daphne project.asgi:application`, Uvicorn.
"""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django_application: Any = get_asgi_application()

# These need Django's apps, which are ready from here on.
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from realtime.delivery import plain, sse  # noqa: E402
from realtime.delivery.centrifuge import emulation, listening, streams, websocket  # noqa: E402
from realtime.delivery.watching import Delivery  # noqa: E402
from realtime.feeds.runtime import Feeds  # noqa: E402
from realtime.web.intake import Intake  # noqa: E402


async def http(scope: Any, receive: Any, send: Any) -> None:
    """Streams and what their clients say past Django, everything else to it."""
    if sse.is_stream(scope):
        await sse.application(scope, receive, send)
    elif streams.is_stream(scope):
        await streams.application(scope, receive, send)
    elif scope["path"] == emulation.PATH:
        await emulation.application(scope, receive, send)
    else:
        await django_application(scope, receive, send)


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """For servers that have it: what started lazily on their loop ends in order."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await Delivery.current().aclose()
            await Feeds.current().aclose()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


sockets = URLRouter([*websocket.routes, *listening.routes, *plain.routes])
application = Intake(ProtocolTypeRouter({"http": http, "websocket": sockets, "lifespan": lifespan}))
