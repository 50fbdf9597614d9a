"""`{% live %}`: a query's result on a page, painted by the server and kept true by `livequery.js`."""

from __future__ import annotations

from typing import Any

from django import template
from django.http import HttpRequest
from django.template import TemplateSyntaxError
from django.template.base import FilterExpression, NodeList, Parser, Token, token_kwargs
from django.template.context import Context
from django.utils.html import format_html
from django.utils.safestring import mark_safe

from realtime.errors import NotFound
from realtime.feeds.access import ANONYMOUS, Principal, principal_of_user
from realtime.queries.blocks import Block
from realtime.queries.names import spelled
from realtime.queries.painting import first_paint
from realtime.queries.registry import query_named

register = template.Library()

USAGE = '{% live "open-orders" customer=42 as orders %}…{% endlive %}'


# The inside is morphed by `livequery.js`; what is wrong stands behind it.
ELEMENT = """\
<div class="live" data-live="{slug}" data-epoch="{epoch}" data-offset="{offset}" data-state="{state}">\
<div class="live-block">{html}</div><p class="live-problem" role="status"{hidden}>{problem}</p></div>"""
REFUSED = '<div class="live" data-state="refused"><p class="live-problem">You may not see this.</p></div>'


class Live(Block):
    """A block in its place on a page."""

    arguments: dict[str, FilterExpression]

    def render(self, context: Context) -> str:
        """The block as it is now, in the element that `livequery.js` keeps true.

        Raises BadInput for parameters that the query does not take.
        """
        request = getattr(context, "request", None)
        if request is None:
            raise TemplateSyntaxError("live: who looks is not known here: render the page with its request.")
        if query_named(self.query) is None:
            raise TemplateSyntaxError(f"live: no installed app declares a query {self.query!r}.")
        values = {name: value.resolve(context) for name, value in self.arguments.items()}
        try:
            painted = first_paint(spelled(self.query, values, self.id), viewer(request))
        except NotFound:
            return mark_safe(REFUSED)  # noqa: S308 - nothing of anybody's is in it
        return format_html(
            ELEMENT,
            slug=painted.slug,
            epoch=painted.epoch,
            offset=painted.offset,
            state=painted.state,
            html=mark_safe(painted.html),  # noqa: S308 - escaped where it was painted, as templates are
            problem=painted.problem,
            hidden="" if painted.problem else mark_safe(" hidden"),
        )


def viewer(request: HttpRequest) -> Principal:
    """Who looks: `request.principal` where the view has set it, else the user whom the session names."""
    known: Principal | None = getattr(request, "principal", None)
    if known is not None:
        return known
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return ANONYMOUS
    return principal_of_user(user, session_key=request.session.session_key or "")


@register.tag("live")
def live(parser: Parser, token: Token) -> Live:
    """The tag as `USAGE` has it: the inside sees `orders` and `customer`."""
    _, *bits = token.split_contents()
    if len(bits) < 3 or bits[-2] != "as" or not bits[-1].isidentifier():
        raise TemplateSyntaxError(f"live: write it as {USAGE}")
    name, variable = bits[0], bits[-1]
    if len(name) < 3 or name[0] not in "\"'" or name[0] != name[-1]:
        raise TemplateSyntaxError(f"live: the query's name must stand in quotes: {USAGE}")
    rest = bits[1:-2]
    arguments = token_kwargs(rest, parser)
    if rest:
        raise TemplateSyntaxError(f"live: {rest[0]!r} is no parameter: {USAGE}")
    if variable in arguments:
        raise TemplateSyntaxError(f"live: `{variable}` is a parameter too. Call the value something else.")
    before: list[Any] = list(parser.tokens)
    nodelist: NodeList = parser.parse(("endlive",))
    inside = before[len(parser.tokens) :]
    parser.delete_first_token()
    place = parser.origin.template_name if parser.origin else None
    node = Live(str(place or ""), name[1:-1], variable, nodelist, inside[::-1])
    node.arguments = arguments
    return node
