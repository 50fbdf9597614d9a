"""JMESPath with its limits: which value of a document is meant, checked early, bounded when it runs.

The language can double a value at each step (`[@,@] | [@,@] | …`), so a run has a budget of steps and of
values built. Unknown functions and wrong numbers of arguments are found before anything runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from jmespath import exceptions
from jmespath.functions import Functions, signature
from jmespath.parser import Parser
from jmespath.visitor import TreeInterpreter

from realtime.errors import BadInput, ExtractError

LENGTH_LIMIT = 1000
NESTING_LIMIT = 50  # brackets; so that what was taken once is taken at any depth of Python's stack
DEPTH_LIMIT = 100  # nodes; each takes three frames of it
BUDGET = 2_000_000

# Nodes whose result may hold the same value many times, and those that copy a list or make a new string.
_REPEATING = frozenset({"multi_select_list", "multi_select_dict"})
_COPYING = frozenset(
    {"flatten", "slice", "projection", "value_projection", "filter_projection", "function_expression"}
)


def compile_expression(text: str, *, field: str = "expression") -> Callable[[Any], Any]:
    """A function from a document to the value meant, None when it is not there; empty text takes all.

    Raises BadInput naming `field` and the position. The function raises ExtractError for a document that
    the expression does not suit, and for results that are not JSON or too much.
    """
    if not text.strip():
        return _whole
    if len(text) > LENGTH_LIMIT:
        raise BadInput(f"{field}: more than {LENGTH_LIMIT:,} characters.", field=field)
    try:
        if _nesting(text) > NESTING_LIMIT:
            raise RecursionError
        tree = _tree(text)
    except exceptions.LexerError as error:
        place = error.lexer_position + 1
        raise BadInput(f"{field}: cannot be read at character {place}.", field=field) from None
    except exceptions.ParseError as error:
        if not error.token_value:
            raise BadInput(f"{field}: it ends too early, after character {len(text)}.", field=field) from None
        place, token = error.lex_position + 1, str(error.token_value)[:40]
        raise BadInput(f"{field}: {token!r} is not expected at character {place}.", field=field) from None
    except RecursionError:
        raise BadInput(f"{field}: nested too deeply.", field=field) from None
    except (ValueError, IndexError, KeyError, AttributeError) as error:
        raise BadInput(f"{field}: not a JMESPath expression ({error}).", field=field) from None
    return lambda document: _run(tree, document)


def _whole(document: Any) -> Any:
    return document


def _nesting(text: str) -> int:
    """How deep the brackets go, those in quotes included."""
    depth = deepest = 0
    for mark in text:
        depth += (mark in "([{") - (mark in ")]}")
        deepest = max(deepest, depth)
    return deepest


@lru_cache(maxsize=4096)
def _tree(text: str) -> Any:
    tree = Parser().parse(text).parsed
    waiting: list[tuple[Any, int]] = [(tree, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > DEPTH_LIMIT:
            raise RecursionError
        if not isinstance(node, dict):
            continue
        waiting += [(child, depth + 1) for child in node.get("children", [])]
        if node["type"] == "function_expression":
            _check_call(node)
    return tree


def _check_call(call: Any) -> None:
    spec = Functions.FUNCTION_TABLE.get(call["value"])
    if spec is None:
        raise ValueError(f"there is no function {call['value'][:40]}()")
    wanted, given = len(spec["signature"]), len(call["children"])
    variadic = spec["signature"][-1].get("variadic", False)
    if given < wanted or (given > wanted and not variadic):
        least = "at least " if variadic else ""
        raise ValueError(f"{call['value']}() takes {least}{wanted} arguments, not {given}")


def _run(tree: Any, document: Any) -> Any:
    run = _BoundedRun()
    try:
        result = run.visit(tree, document)
    except exceptions.JMESPathTypeError as error:
        wanted = " or ".join(error.expected_types)
        raise ExtractError(f"{error.function_name}() takes {wanted}, but got {error.actual_type}.") from None
    except RecursionError:
        raise ExtractError("The answer is nested too deeply for the expression.") from None
    except (
        ValueError,
        TypeError,
        ArithmeticError,
        AttributeError,
        LookupError,
        NotImplementedError,
    ) as error:
        raise ExtractError(f"The expression does not suit the answer ({error}).") from None
    run.spend(_weight(result, run.left))
    return result


class _BoundedFunctions(Functions):
    """The standard functions, with the one that can multiply two lengths held back."""

    @signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, array: list[str]) -> str:
        if len(separator) * len(array) + sum(map(len, array)) > BUDGET:
            raise ExtractError("The expression builds too much out of this answer.")
        return separator.join(array)


class _BoundedRun(TreeInterpreter):
    """One evaluation, ended by ExtractError when its budget is spent."""

    def __init__(self) -> None:
        super().__init__()
        self._functions = _BoundedFunctions()
        self.left = BUDGET

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self.spend(1)
        result = super().visit(node, *args, **kwargs)
        kind = node["type"]
        if kind in _REPEATING:
            self.spend(_weight(result, self.left))
        elif kind in _COPYING and isinstance(result, (list, str)):
            self.spend(len(result))
        return result

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise ExtractError("The expression builds too much out of this answer.")


def _weight(value: Any, limit: int) -> int:
    """How much a value holds: values and characters, shared ones each time; not counted past `limit`.

    Raises ExtractError for what JSON cannot say.
    """
    total = 0
    waiting = [value]
    while waiting and total <= limit:
        one = waiting.pop()
        total += 1
        if isinstance(one, str):
            total += len(one)
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            total += sum(map(len, one))
            waiting += one.values()
        elif isinstance(one, float) and not math.isfinite(one):
            raise ExtractError(f"The expression gives {one}, which is not a JSON number.")
        elif one is not None and not isinstance(one, (int, float)):
            raise ExtractError("The expression gives a part of itself (&…), not a value.")
    return total
