"""Who a client is, and what it may do in a channel."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.feeds.access import Principal
from realtime.feeds.channels import Name, Rules

from .codec import Raw


@dataclass(frozen=True, slots=True)
class Identity:
    """A client after its connect.

    user        as its token names it; empty: anonymous
    principal   its rights to feeds
    info        told to others who see its presence
    expires_at  when its token expires (seconds since 1970); None: never
    """

    user: str
    principal: Principal
    info: Raw | None = None
    expires_at: float | None = None


def may_subscribe(identity: Identity, name: Name, rules: Rules) -> bool:
    """Whether this client may subscribe to a channel of these rules without a subscription token."""
    if name.private:
        return False
    if name.users is not None:
        return bool(identity.user) and identity.user in name.users
    if name.is_feed:
        return rules.subscribe == "anybody" or identity.principal.may_read(public=False)
    return rules.subscribe == "anybody" or (rules.subscribe == "users" and bool(identity.user))


def may_publish(identity: Identity, name: Name, rules: Rules, *, subscribed: bool) -> bool:
    """Whether this client may publish to a channel of these rules.

    To a private one, or one of named users, only who has got in.
    """
    if identity.principal.may_publish:
        return True
    if rules.publish == "users" and not (name.private or name.users is not None):
        return bool(identity.user)
    return rules.publish != "nobody" and subscribed
