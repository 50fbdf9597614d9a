"""`{% live %}`: a query's result on a page, painted by the server and kept true by `livequery.js`."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import TemplateSyntaxError
from django.template.base import FilterExpression, NodeList, Parser, Token, token_kwargs
from django.template.context import Context

from realtime.queries.blocks import Block

register = template.Library()

USAGE = '{% live "open-orders" customer=42 as orders %}…{% endlive %}'


class Live(Block):
    """A block in its place on a page."""

    arguments: dict[str, FilterExpression]

    def render(self, context: Context) -> str:
        raise NotImplementedError


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
