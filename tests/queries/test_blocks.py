"""Blocks of templates: found again by their id in any process, and painted the same whoever looks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.template import TemplateSyntaxError, engines
from django.template.loader import get_template
from django.utils import timezone

from realtime.errors import NotFound
from realtime.queries import blocks
from realtime.queries.blocks import Block

from .conftest import SetTemplates

LIST = (
    '{% load live %}{% live "open-orders" customer=42 as orders %}'
    "{% for o in orders %}<i>{{ o.note }}</i>{% endfor %}{% endlive %}"
)


def blocks_of(name: str) -> list[Block]:
    template: Any = get_template(name)
    found: list[Block] = template.template.nodelist.get_nodes_by_type(Block)
    return found


def test_a_block_is_found_and_painted_by_its_id(set_templates: SetTemplates) -> None:
    set_templates({"shop/orders.html": f"<h1>Orders</h1>{LIST}"})
    [block] = blocks_of("shop/orders.html")
    assert blocks.find(block.id, "open-orders").id == block.id
    painted = blocks.render(block.id, {"customer": 42}, [{"note": "<script>"}, {"note": "two"}])
    assert painted == "<i>&lt;script&gt;</i><i>two</i>"


def test_an_id_can_be_part_of_a_feeds_name(set_templates: SetTemplates) -> None:
    set_templates({"shop/orders.html": LIST})
    [block] = blocks_of("shop/orders.html")
    assert block.id.isascii()
    assert block.id.isprintable()
    assert not set(block.id) & set('"\\#?&/')


def test_a_block_sees_its_value_and_parameters_alone(set_templates: SetTemplates) -> None:
    inside = "{{ orders }} {{ customer }} {{ secret }}{{ request.path }}{{ user }}{{ messages }}"
    set_templates({"a.html": '{% load live %}{% live "q" customer=1 as orders %}' + inside + "{% endlive %}"})
    [block] = blocks_of("a.html")
    assert blocks.render(block.id, {"customer": 1}, "x") == "x 1 "


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Lima"])
def test_the_time_zone_of_whoever_looks_changes_nothing(set_templates: SetTemplates, zone: str) -> None:
    set_templates({"a.html": '{% load live %}{% live "q" as at %}{{ at|date:"H:i" }}{% endlive %}'})
    [block] = blocks_of("a.html")
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    with timezone.override(zone):
        assert blocks.render(block.id, {}, noon) == "12:00"


def test_blocks_are_found_wherever_they_stand(set_templates: SetTemplates) -> None:
    set_templates(
        {
            "base.html": "{% block main %}{% endblock %}",
            "page.html": '{% extends "base.html" %}{% load live %}{% block main %}{% for c in all %}'
            '{% if c %}{% with d=c %}{% live "q" customer=d as rows %}{% include "row.html" %}{% endlive %}'
            "{% endwith %}{% endif %}{% endfor %}{% endblock %}",
            "row.html": "<b>{{ rows.0 }}</b>",
        }
    )
    [block] = blocks_of("page.html")
    assert block.id.startswith("page.html:")
    assert blocks.render(block.id, {}, ["&"]) == "<b>&amp;</b>"


def test_one_in_an_included_template_is_that_templates(set_templates: SetTemplates) -> None:
    set_templates({"page.html": '{% include "part.html" %}', "part.html": LIST})
    assert blocks_of("page.html") == []
    [block] = blocks_of("part.html")
    assert block.id.startswith("part.html:")


def test_what_a_block_is_made_of_tells_blocks_apart(set_templates: SetTemplates) -> None:
    def tag(query: str = "q", name: str = "rows", inside: str = "{{ rows }}", arguments: str = "") -> str:
        return f'{{% live "{query}" {arguments} as {name} %}}{inside}{{% endlive %}}'

    others = [tag("other"), tag(name="lines"), tag(inside="{{ rows|length }}"), tag(inside="{# rows #}")]
    alike = [tag(), tag(arguments="customer=2")]
    set_templates({"a.html": "{% load live %}" + "".join([*others, *alike])})
    ids = [block.id for block in blocks_of("a.html")]
    assert len(set(ids)) == len(others) + 1
    assert ids[-1] == ids[-2]


def test_a_changed_block_has_another_id_and_the_old_one_is_gone(set_templates: SetTemplates) -> None:
    set_templates({"shop/orders.html": LIST})
    [before] = blocks_of("shop/orders.html")
    set_templates({"shop/orders.html": LIST.replace("<i>", "<b>")})
    [after] = blocks_of("shop/orders.html")
    assert after.id != before.id
    with pytest.raises(NotFound, match="the page that showed it has changed"):
        blocks.find(before.id, "open-orders")


def test_a_block_of_another_query_is_not_found(set_templates: SetTemplates) -> None:
    set_templates({"shop/orders.html": LIST})
    [block] = blocks_of("shop/orders.html")
    with pytest.raises(NotFound):
        blocks.find(block.id, "my-orders")


@pytest.mark.parametrize(
    "asked",
    [
        "",
        ":",
        "nothing",
        "none.html:00000000",
        "%2e%2e%2fa.html:0",
        "broken.html:00000000",
        "../a.html:0",
        "a b:0",
        "ü:0",
    ],
)
def test_names_of_no_block_are_not_found_and_not_kept(set_templates: SetTemplates, asked: str) -> None:
    set_templates({"broken.html": "{% if %}"})
    with pytest.raises(NotFound):
        blocks.find(asked, "open-orders")
    assert blocks._found == {}
    # Django's own cache would keep each name for ever.
    [loader] = engines["django"].engine.template_loaders
    assert loader.get_template_cache == {}


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ('{% live "q" %}', "write it as"),
        ('{% live "q" as %}', "write it as"),
        ('{% live "q" customer=1 rows %}', "write it as"),
        ('{% live "q" as a-b %}', "write it as"),
        ("{% live q as rows %}", "in quotes"),
        ('{% live "" as rows %}', "in quotes"),
        ('{% live "q" 42 as rows %}', "'42' is no parameter"),
        ('{% live "q" rows=1 as rows %}', "`rows` is a parameter too"),
        ('{% live "q" as a %}{% live "q" as rows %}{% endlive %}', "neither `live` nor `block`"),
        ('{% live "q" as rows %}{% block main %}{% endblock %}', "neither `live` nor `block`"),
    ],
)
def test_a_tag_that_cannot_work_says_what_is_wrong(set_templates: SetTemplates, tag: str, words: str) -> None:
    set_templates({"a.html": "{% load live %}" + tag + "{% endlive %}"})
    with pytest.raises(TemplateSyntaxError, match=words):
        get_template("a.html")


def test_a_template_that_is_no_file_cannot_have_blocks(set_templates: SetTemplates) -> None:
    set_templates({})
    with pytest.raises(TemplateSyntaxError, match="painted again by that name"):
        engines["django"].from_string(LIST)
