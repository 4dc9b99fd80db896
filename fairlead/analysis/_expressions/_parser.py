"""Tokens become a tree, by precedence climbing.

Source: `expr-lang/expr: parser/parser.go`, `parser/operator`. Its limit of nodes is kept; two limits of depth are ours.
"""

from __future__ import annotations

from typing import Final

from fairlead.analysis._expressions import _nodes as n
from fairlead.analysis._expressions._errors import ExpressionError, static_error
from fairlead.analysis._expressions._lexer import Lexer, Token, TokenKind, is_word_character, quote
from fairlead.analysis._expressions._numbers import parse_float
from fairlead.analysis._expressions._signatures import OVERLOADS, VALIDATORS

TEXT_MAX: Final = 64 * 1024  # characters of an expression
NODES_MAX: Final = 10_000
NESTING_MAX: Final = 64  # brackets, closures and blocks in each other
CALLS_MAX: Final = 200  # expressions in each other, counted by the parser
HEIGHT_MAX: Final = 200  # of the tree: a && b && c is high on its left

_UNARY: Final = {"not": 50, "!": 50, "-": 90, "+": 90}
_BINARY: Final = {
    "|": 0,
    "or": 10,
    "||": 10,
    "and": 15,
    "&&": 15,
    **dict.fromkeys(("==", "!=", "<", ">", ">=", "<=", "in", "matches", "contains", "startsWith", "endsWith"), 20),
    "..": 25,
    "+": 30,
    "-": 30,
    "*": 60,
    "/": 60,
    "%": 60,
    "**": 100,
    "^": 100,
    "??": 500,
}
_RIGHT: Final = ("**", "^")
_COMPARISONS: Final = ("<", ">", ">=", "<=")
_NEGATABLE: Final = ("contains", "matches", "startsWith", "endsWith", "in")
_EXPRESSION, _PREDICATE = 0, 1
# What the arguments of a builtin with a closure are, and how many of them must be there.
_CLOSURES: Final[dict[str, tuple[tuple[int, ...], int]]] = {
    **dict.fromkeys(
        (
            "all",
            "none",
            "any",
            "one",
            "filter",
            "map",
            "find",
            "findIndex",
            "findLast",
            "findLastIndex",
            "groupBy",
        ),
        ((_EXPRESSION, _PREDICATE), 2),
    ),
    "count": ((_EXPRESSION, _PREDICATE), 1),
    "sum": ((_EXPRESSION, _PREDICATE), 1),
    "sortBy": ((_EXPRESSION, _PREDICATE, _EXPRESSION), 2),
    "reduce": ((_EXPRESSION, _PREDICATE, _EXPRESSION), 2),
}
PLAIN_BUILTINS: Final = frozenset([*OVERLOADS, *VALIDATORS, "get"])
BUILTINS: Final = PLAIN_BUILTINS | frozenset(_CLOSURES)


def parse(text: str) -> n.Node:
    """Return the tree of an expression.

    Raises:
        ExpressionError: it is none, or it is too large.
    """
    if len(text) > TEXT_MAX:
        raise static_error(f"expression is longer than {TEXT_MAX} characters")
    parser = _Parser(text)
    tree = parser.sequence()
    parser.expect_end()
    return tree


class _Parser:
    def __init__(self, text: str) -> None:
        self._lexer = Lexer(text)
        self._current = self._lexer.next()
        self._stashed: Token | None = None
        self._nodes = 0
        self._nesting = 0
        self._calls = 0
        self._closures = 0

    # tokens

    def _advance(self) -> Token:
        """Step to the next token and return the one that was current."""
        token = self._current
        if self._stashed is not None:
            self._current, self._stashed = self._stashed, None
        else:
            self._current = self._lexer.next()
        return token

    def _is(self, kind: TokenKind, *texts: str) -> bool:
        return self._current.kind is kind and (not texts or self._current.text in texts)

    def _is_operator(self, *texts: str) -> bool:
        return self._is(TokenKind.OPERATOR, *texts)

    def _is_bracket(self, text: str) -> bool:
        return self._is(TokenKind.BRACKET, text)

    def _unexpected(self, token: Token | None = None) -> ExpressionError:
        token = token or self._current
        return static_error(f"unexpected token {token}", token.at)

    def _expect(self, kind: TokenKind, *texts: str) -> Token:
        if not self._is(kind, *texts):
            raise self._unexpected()
        return self._advance()

    def _bracket(self, text: str) -> Token:
        return self._expect(TokenKind.BRACKET, text)

    def _operator(self, text: str) -> Token:
        return self._expect(TokenKind.OPERATOR, text)

    def expect_end(self) -> None:
        if not self._is(TokenKind.END):
            raise self._unexpected()

    # limits

    def _height(self, *below: n.Node | None) -> int:
        """Return the height of a node above these, and count it."""
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise static_error("compilation failed: expression exceeds maximum allowed nodes", self._current.at)
        height = 1 + max((node.height for node in below if node is not None), default=0)
        if height > HEIGHT_MAX:
            raise self._too_deep()
        return height

    def _too_deep(self) -> ExpressionError:
        return static_error("compilation failed: expression nests too deeply", self._current.at)

    def _nest(self) -> None:
        self._nesting += 1
        if self._nesting > NESTING_MAX:
            raise self._too_deep()

    # grammar

    def sequence(self) -> n.Node:
        """Parse expressions separated by semicolons; the last one is what counts."""
        self._nest()
        nodes = [self._expression(0)]
        while self._is_operator(";"):
            self._advance()
            if self._is(TokenKind.END):
                break
            nodes.append(self._expression(0))
        self._nesting -= 1
        return nodes[0] if len(nodes) == 1 else n.Sequence(nodes[0].at, self._height(*nodes), nodes)

    def _expression(self, precedence: int) -> n.Node:
        self._calls += 1
        if self._calls > CALLS_MAX:
            raise self._too_deep()
        if precedence == 0 and self._is_operator("let"):
            node = self._let()
        elif precedence == 0 and self._is_operator("if"):
            node = self._if()
        else:
            node = self._binary(precedence)
        self._calls -= 1
        return node

    def _let(self) -> n.Node:
        self._operator("let")
        name = self._expect(TokenKind.NAME)
        self._operator("=")
        value = self._expression(0)
        self._operator(";")
        body = self.sequence()
        return n.Let(name.at, self._height(value, body), name.text, value, body)

    def _if(self) -> n.Node:
        token = self._operator("if")
        condition = self._expression(0)
        self._bracket("{")
        yes = self.sequence()
        self._bracket("}")
        self._operator("else")
        if self._is_operator("if"):
            self._nest()
            no = self._if()
            self._nesting -= 1
        else:
            self._bracket("{")
            no = self.sequence()
            self._bracket("}")
        return n.Conditional(token.at, self._height(condition, yes, no), condition, yes, no)

    def _binary(self, precedence: int) -> n.Node:
        left = self._primary()
        previous = ""
        while self._is_operator():
            operator, negation = self._current, None
            if operator.text == "not":
                negation = self._advance()
                operator = self._current
                if operator.text not in _NEGATABLE:
                    raise self._unexpected()
                if _BINARY[operator.text] < precedence:
                    self._stashed, self._current = self._current, negation
                    break
            level = _BINARY.get(operator.text, -1)
            if level < precedence or level < 0:
                break
            self._advance()
            if operator.text == "|":
                left = self._call(self._expect(TokenKind.NAME), [left])
            elif previous == "??" and operator.text != "??":
                raise static_error(
                    f"Operator ({operator.text}) and coalesce expressions (??) cannot be mixed. "
                    "Wrap either by parentheses.",
                    operator.at,
                )
            elif operator.text in _COMPARISONS:
                left = self._comparison(left, operator, level)
            else:
                right = self._expression(level if operator.text in _RIGHT else level + 1)
                left = n.Binary(operator.at, self._height(left, right), operator.text, left, right)
                if negation is not None:
                    left = n.Unary(operator.at, self._height(left), "not", left)
            previous = operator.text
        if precedence == 0:
            left = self._ternary(left)
        return left

    def _comparison(self, left: n.Node, operator: Token, level: int) -> n.Node:
        """Parse `< b`, and `< b < c` as `a < b and b < c`."""
        result: n.Node | None = None
        while True:
            right = self._expression(level + 1)
            term = n.Binary(operator.at, self._height(left, right), operator.text, left, right)
            result = term if result is None else n.Binary(operator.at, self._height(result, term), "&&", result, term)
            if not self._is_operator(*_COMPARISONS):
                return result
            left, operator = right, self._advance()

    def _ternary(self, node: n.Node) -> n.Node:
        while self._is_operator("?"):
            self._advance()
            if self._is_operator(":"):
                self._advance()
                yes, no = node, self._expression(0)
            else:
                yes = self._expression(0)
                self._operator(":")
                no = self._expression(0)
            node = n.Conditional(self._current.at, self._height(node, yes, no), node, yes, no)
        return node

    def _primary(self) -> n.Node:
        token = self._current
        if token.kind is TokenKind.OPERATOR:
            if token.text in _UNARY:
                self._advance()
                node = self._expression(_UNARY[token.text])
                return self._postfix(n.Unary(token.at, self._height(node), token.text, node))
            if self._closures and token.text in ("#", "."):
                name = ""
                if token.text == "#":
                    self._advance()
                    if self._is(TokenKind.NAME):
                        name = self._advance().text
                return self._postfix(n.Pointer(token.at, self._height(), name))
            if token.text == "::":
                self._advance()
                return self._postfix(self._call(self._expect(TokenKind.NAME), []))
        if self._is_bracket("("):
            self._advance()
            node = self.sequence()
            self._bracket(")")
            return self._postfix(node)
        return self._secondary()

    def _secondary(self) -> n.Node:
        token = self._current
        match token.kind:
            case TokenKind.NAME:
                self._advance()
                if token.text in ("true", "false", "nil"):
                    value = {"true": True, "false": False, "nil": None}[token.text]
                    return n.Constant(token.at, self._height(), value)  # nothing may follow: true.x is refused
                if self._is_bracket("("):
                    return self._postfix(self._call(token, []))
                return self._postfix(n.Name(token.at, self._height(), token.text))
            case TokenKind.NUMBER:
                self._advance()
                return n.Constant(token.at, self._height(), self._number(token))
            case TokenKind.STRING:
                self._advance()
                return self._postfix(n.Constant(token.at, self._height(), token.text))
            case TokenKind.BYTES:
                self._advance()
                return self._postfix(n.Bytes(token.at, self._height(), token.text))
            case _:
                if self._is_bracket("["):
                    return self._postfix(self._list())
                if self._is_bracket("{"):
                    return self._postfix(self._map())
                raise self._unexpected()

    @staticmethod
    def _number(token: Token) -> int | float:
        digits = token.text.replace("_", "")
        lower = digits.lower()
        base = {"0x": 16, "0b": 2, "0o": 8}.get(lower[:2], 10)
        if base == 10 and ("." in lower or "e" in lower):
            try:
                return parse_float(digits)
            except ValueError as error:
                raise static_error(f"invalid float literal: {error}", token.at) from None
        kind = {16: "hex", 2: "binary", 8: "octal", 10: "integer"}[base]
        what = f"invalid {kind} literal: strconv.ParseInt: parsing {quote(digits)}: "
        body = lower if base == 10 else lower[2:]
        if not body or not all(character in "0123456789abcdef"[:base] for character in body):
            raise static_error(what + "invalid syntax", token.at)
        # Longer than any int64 in any base: not even converted.
        if len(body.lstrip("0")) > 64 or int(body, base) > 2**63 - 1:
            raise static_error(what + "value out of range", token.at)
        return int(body, base)

    def _call(self, token: Token, arguments: list[n.Node]) -> n.Node:
        """Parse the rest of a call; `arguments` holds what a pipe put in front."""
        if token.text in _CLOSURES:
            arguments = self._closure_arguments(token.text, arguments)
            return n.Builtin(token.at, self._height(*arguments), token.text, arguments)
        arguments = self._arguments(arguments)
        if token.text in PLAIN_BUILTINS:
            return n.Builtin(token.at, self._height(*arguments), token.text, arguments)
        callee = n.Name(token.at, self._height(), token.text)
        return n.Call(token.at, self._height(*arguments), callee, arguments)

    def _closure_arguments(self, name: str, given: list[n.Node]) -> list[n.Node]:
        kinds, least = _CLOSURES[name]
        arguments = list(given)
        self._bracket("(")
        for position, kind in enumerate(kinds[len(given) :]):
            if self._is_bracket(")"):
                if len(arguments) >= least:
                    break
                raise static_error(f"expected at least {len(kinds) - len(given)} arguments", self._current.at)
            if position > 0:
                self._operator(",")
                if self._is_bracket(")") and len(arguments) >= least:
                    break
            arguments.append(self._expression(0) if kind == _EXPRESSION else self._closure())
        if self._is_operator(","):
            self._advance()
        self._bracket(")")
        return arguments

    def _closure(self) -> n.Node:
        token = self._current
        self._closures += 1
        if self._is_bracket("{"):
            self._advance()
            node = self.sequence()
            self._closures -= 1
            self._bracket("}")
        else:
            node = self._expression(0)
            if self._is_operator(";"):
                raise static_error("wrap predicate with brackets { and }", self._current.at)
            self._closures -= 1
        return n.Closure(token.at, self._height(node), node)

    def _items(self, opening: str, closing: str) -> list[n.Node]:
        """Parse expressions between brackets; a trailing comma is allowed."""
        self._bracket(opening)
        self._nest()
        nodes: list[n.Node] = []
        while not self._is_bracket(closing):
            if nodes:
                self._operator(",")
                if self._is_bracket(closing):
                    break
            nodes.append(self._expression(0))
        self._nesting -= 1
        self._bracket(closing)
        return nodes

    def _arguments(self, given: list[n.Node]) -> list[n.Node]:
        return [*given, *self._items("(", ")")]

    def _list(self) -> n.Node:
        at = self._current.at
        nodes = self._items("[", "]")
        return n.ListOf(at, self._height(*nodes), nodes)

    def _map(self) -> n.Node:
        start = self._bracket("{")
        self._nest()
        pairs: list[tuple[n.Node, n.Node]] = []
        while not self._is_bracket("}"):
            if pairs:
                self._operator(",")
                if self._is_bracket("}"):
                    break
            key: n.Node
            if self._current.kind in (TokenKind.NUMBER, TokenKind.STRING, TokenKind.NAME):
                token = self._advance()
                key = n.Constant(token.at, self._height(), token.text)
            elif self._is_bracket("("):
                key = self._expression(0)
            elif self._is_operator(","):
                raise self._unexpected()
            else:
                raise static_error(
                    "a map key must be a quoted string, a number, a identifier, or an expression enclosed in "
                    f"parentheses (unexpected token {self._current})",
                    self._current.at,
                )
            self._operator(":")
            pairs.append((key, self._expression(0)))
        self._nesting -= 1
        self._bracket("}")
        return n.MapOf(start.at, self._height(*(node for pair in pairs for node in pair)), pairs)

    def _postfix(self, node: n.Node) -> n.Node:
        while True:
            if self._is_operator(".", "?."):
                is_optional = self._advance().text == "?."
                if is_optional and self._is_bracket("["):
                    node = self._index(node, is_optional=True)
                else:
                    node = self._member(node, is_optional)
            elif self._is_bracket("["):
                node = self._index(node, is_optional=False)
            else:
                return node

    def _member(self, node: n.Node, is_optional: bool) -> n.Node:
        token = self._advance()
        is_name = token.kind is TokenKind.NAME or (
            # not and matches are operators, and yet they may be members.
            token.kind is TokenKind.OPERATOR and all(map(is_word_character, token.text))
        )
        if not is_name:
            raise static_error("expected name", self._current.at)
        is_chain = isinstance(node, n.Chain)
        base = node.node if isinstance(node, n.Chain) else node
        name = n.Constant(token.at, self._height(), token.text)
        result: n.Node = n.Member(token.at, self._height(base, name), base, name, is_optional)
        if self._is_bracket("("):
            assert isinstance(result, n.Member)
            result.is_method = True
            arguments = self._arguments([])
            result = n.Call(token.at, self._height(result, *arguments), result, arguments)
        return n.Chain(token.at, self._height(result), result) if is_chain or is_optional else result

    def _index(self, base: n.Node, *, is_optional: bool) -> n.Node:
        at = self._bracket("[").at
        self._nest()
        low: n.Node | None = None
        high: n.Node | None = None
        if not self._is_operator(":"):
            low = self._expression(0)
        is_slice = self._is_operator(":")
        if is_slice:
            self._advance()
            if not self._is_bracket("]"):
                high = self._expression(0)
        self._nesting -= 1
        self._bracket("]")
        if is_slice:
            return n.Slice(at, self._height(base, low, high), base, low, high)
        assert low is not None
        node: n.Node = n.Member(at, self._height(base, low), base, low, is_optional)
        return n.Chain(at, self._height(node), node) if is_optional else node
