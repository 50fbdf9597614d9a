"""Blocks of templates that show a live query: painted first with their page, then anew for every result.

A block is what stands between `{% live … as orders %}` and `{% endlive %}`. Whoever knows its id paints it,
in any process: it sees only its query's value and parameters, nothing of the page around it or of who looks.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote

from django.conf import settings
from django.template import Context, Node, Template, TemplateDoesNotExist, TemplateSyntaxError, engines
from django.template.backends.django import DjangoTemplates
from django.template.base import NodeList, Token
from django.template.engine import Engine
from django.template.loader_tags import BlockNode
from django.template.loaders import cached
from django.utils import timezone, translation

from realtime.errors import NotFound

# What may stand in a feed's name, besides the colon before the digest.
_TEMPLATE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,119}")
_DIGEST_CHARACTERS = 8


class Block(Node):
    """The inside of one tag.

    id         the template's name, percent-encoded, and behind a colon a digest of what the block is made of:
               two alike in one template are one, and a changed one is another
    query      the query's name
    variable   what the block calls the query's value
    """

    def __init__(
        self, template: str, query: str, variable: str, nodelist: NodeList, source: list[Token]
    ) -> None:
        if not _TEMPLATE_NAME.fullmatch(template):
            raise TemplateSyntaxError(
                f"live: a template named {template!r} cannot have live blocks. Keep it in a file whose name "
                "has at most 120 letters, digits and `_./-`: the block is painted again by that name."
            )
        if nodelist.get_nodes_by_type(Block) or nodelist.get_nodes_by_type(BlockNode):
            raise TemplateSyntaxError("live: neither `live` nor `block` may stand in a live block.")
        made_of = [query, variable, *(f"{token.token_type.value}{token.contents}" for token in source)]
        digest = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:_DIGEST_CHARACTERS]
        self.id = f"{quote(template, safe='')}:{digest}"
        self.query = query
        self.variable = variable
        self.nodelist = nodelist

    def paint(self, template: Template, values: Mapping[str, Any], value: Any) -> str:
        """The HTML for a value, the same whoever looks: in the site's own language and time zone."""
        context = Context({**values, self.variable: value})
        with (
            timezone.override(None),
            translation.override(settings.LANGUAGE_CODE),
            context.render_context.push_state(template),
            context.bind_template(template),
        ):
            return self.nodelist.render(context)


# By id. As many as the site's templates have: what is not found is not kept.
_found: dict[str, tuple[Template, Block]] = {}


def find(block_id: str, query: str) -> Block:
    """The block of that id, if it shows that query. NotFound for anything else that a name may have there."""
    block = _load(block_id)[1]
    if block.query != query:
        raise NotFound(f"The block {block_id} does not show the query {query}.", field="slug")
    return block


def render(block_id: str, values: Mapping[str, Any], value: Any) -> str:
    """The block's HTML for a value of its query with these parameters. Raises NotFound."""
    template, block = _load(block_id)
    return block.paint(template, values, value)


def _load(block_id: str) -> tuple[Template, Block]:
    found = _found.get(block_id)
    if found is None:
        name = unquote(block_id.rpartition(":")[0])
        for template in _templates(name) if _TEMPLATE_NAME.fullmatch(name) else ():
            blocks: list[Any] = template.nodelist.get_nodes_by_type(Block)
            _found.update({block.id: (template, block) for block in blocks})
        found = _found.get(block_id)
    if found is None:
        raise NotFound("There is no such block any more: the page that showed it has changed.", field="slug")
    return found


def _templates(name: str) -> Iterable[Template]:
    """All templates of that name, past Django's cache: it would keep every name that anybody asks for."""
    for backend in engines.all():
        if not isinstance(backend, DjangoTemplates):
            continue
        engine: Engine = backend.engine
        for loader in engine.template_loaders:
            for each in loader.loaders if isinstance(loader, cached.Loader) else (loader,):
                try:
                    yield each.get_template(name)
                except (TemplateDoesNotExist, TemplateSyntaxError):
                    continue
