"""Path expressions of jq on JSON values: pure, with a bound on the work, and no way out to files or time.

The language is that of jq 1.7 and of gojq, which upstream uses, as far as `parsing` and `functions` say. A child
process with the real program would block its caller for up to the whole time limit; here work is counted instead.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import fields
from typing import Any, Final

from fairlead.agentsync._jq import nodes as syntax
from fairlead.agentsync._jq.evaluation import Evaluation
from fairlead.agentsync._jq.functions import NATIVE, prelude
from fairlead.agentsync._jq.nodes import Node
from fairlead.agentsync._jq.parsing import parse
from fairlead.agentsync._jq.scopes import NO_NAMES, Broken, TooMuchWork
from fairlead.agentsync._jq.special import SPECIAL
from fairlead.agentsync._jq.tokens import JqError
from fairlead.agentsync._jq.values import JqFailure, delete
from fairlead.core.errors import SpecError

__all__ = ["Expression", "JqError", "JqFailure", "compile_expression"]

WORK_MAX: Final = 300_000  # steps of one evaluation: well under a second


def _check(node: Node, names: frozenset[Any]) -> None:
    """Refuse names that nothing defines, before anything is evaluated."""
    match node:
        case syntax.Call(name, arguments):
            key = (name, len(arguments))
            if key not in names and key not in NATIVE and key not in prelude() and key not in SPECIAL:
                raise JqError(f"jq: {name}/{len(arguments)} is not defined")
        case syntax.Variable(name) if name not in names:
            raise JqError(f"jq: {name} is not defined")
        case syntax.Break(name) if ("label", name) not in names:
            raise JqError(f"jq: label {name} is not defined")
        case syntax.Define(name, parameters, body, rest):
            inner = names | {(name, len(parameters))}
            plain = {one for one in parameters if one.startswith("$")}
            _check(body, inner | plain | {(one.removeprefix("$"), 0) for one in parameters})
            _check(rest, inner)
            return
    bound = {node.name} if isinstance(node, syntax.Bind | syntax.Reduce | syntax.Foreach) else set()
    if isinstance(node, syntax.Label):
        bound = {("label", node.name)}  # type: ignore[arg-type]  # names are texts, labels are pairs
    for inner_node, is_source in _children(node):
        _check(inner_node, names if is_source else names | bound)


def _children(node: Node) -> Iterator[tuple[Node, bool]]:
    """Yield the nodes right inside a node, and whether they stand before what it binds."""
    for name in (one.name for one in fields(node)):  # type: ignore[arg-type]  # every node is a dataclass
        found = getattr(node, name)
        for one in found if isinstance(found, tuple) else (found,):
            for inner in one if isinstance(one, tuple) else (one,):
                if isinstance(inner, Node):
                    yield inner, name in ("source", "start")


class Expression:
    """A compiled expression. Safe to share."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._node = parse(text)
        _check(self._node, frozenset())

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def results(self, value: Any, *, work: int = WORK_MAX) -> Generator[Any, None, None]:
        """Yield what the expression makes of a value.

        Raises:
            JqFailure: it fails on this value.
            SpecError: it takes too much work.
        """
        try:
            yield from Evaluation(work).values(self._node, NO_NAMES, value)
        except (TooMuchWork, RecursionError) as error:
            raise self._stopped() from error

    def delete(self, value: Any, *, work: int = WORK_MAX) -> Any:
        """Return the value without what the expression names, as `del(expression)`; itself if that is nothing.

        An expression that fails on this value names nothing in it: `.a[]` where there is no `a`.

        Raises:
            SpecError: it takes too much work.
        """
        try:
            evaluation = Evaluation(work)
            return delete(value, evaluation.paths(self._node, NO_NAMES, value), evaluation.spend)
        except (JqFailure, Broken):
            return value
        except (TooMuchWork, RecursionError) as error:
            raise self._stopped() from error

    def _stopped(self) -> SpecError:
        return SpecError(f'jq: the expression "{self.text}" takes too much work and was stopped')


def compile_expression(text: str) -> Expression:
    """Return the compiled expression.

    Raises:
        JqError: the text is no expression, or calls a function that does not exist here.

    >>> compile_expression(".a[] | select(.b == 1)").delete({"a": [{"b": 1}, {"b": 2}]})
    {'a': [{'b': 2}]}
    """
    try:
        return Expression(text)
    except RecursionError as error:
        raise JqError("jq: nested too deeply") from error
