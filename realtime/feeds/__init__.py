"""Feeds: the journal of publications, its only writer, its readers and the way between processes.

This room knows values and positions. It refuses to know where a value comes from and who watches it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .runtime import publish

__all__ = ["publish"]


def __getattr__(name: str) -> Any:
    """`from realtime.feeds import publish`, without loading models before Django is ready for them."""
    if name == "publish":
        from .runtime import publish

        return publish
    raise AttributeError(name)
