"""The language of jq as a tree: what path expressions of ignore rules are written in.

Left out, with a clear error: modules (`import`, `include`), destructuring, formats other than `@text`, `@json`,
`@base64` and `@base64d`.

Source: the manual of jq 1.7; precedence from its grammar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from fairlead.agentsync._jq.nodes import (
    Array,
    Binary,
    Bind,
    Break,
    Call,
    Define,
    Foreach,
    Format,
    Identity,
    If,
    Index,
    Iterate,
    Label,
    Literal,
    Negative,
    Node,
    Object,
    Reduce,
    Slice,
    Text,
    Try,
    Variable,
)
from fairlead.agentsync._jq.tokens import JqError, Lexer, Token

LENGTH_MAX: Final = 16 * 1024
DEPTH_MAX: Final = 30  # nesting of brackets and the like in the text

_FORMATS: Final = frozenset({"@text", "@json", "@base64", "@base64d"})
_KEYWORDS: Final = frozenset(
    {"def", "if", "then", "elif", "else", "end", "as", "reduce", "foreach", "try", "catch", "label"}
    | {"import", "include", "and", "or", "__loc__"}
)
# Precedence from the loosest, the pipe aside: operators, and whether they group to the right (None: they do not chain).
_LEVELS: Final[tuple[tuple[frozenset[str], bool | None], ...]] = (
    (frozenset({","}), False),
    (frozenset({"//"}), True),
    (frozenset({"=", "|=", "+=", "-=", "*=", "/=", "%=", "//="}), None),
    (frozenset({"or"}), False),
    (frozenset({"and"}), False),
    (frozenset({"==", "!=", "<", "<=", ">", ">="}), None),
    (frozenset({"+", "-"}), False),
    (frozenset({"*", "/", "%"}), False),
)
_ALTERNATIVE: Final = 1  # the level of `//`; without comma and pipe


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def whole(self) -> Node:
        result = self._pipe()
        if self._at < len(self._tokens):
            raise self._unexpected()
        return result

    def _peek(self) -> str:
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        return token.text if token is not None and token.kind in ("mark", "word") else ""

    def _next(self, kind: str = "") -> Token:
        if self._at >= len(self._tokens):
            raise JqError("jq: unexpected end of the expression")
        token = self._tokens[self._at]
        if kind and token.kind != kind:
            raise self._unexpected()
        self._at += 1
        return token

    def _unexpected(self) -> JqError:
        if self._at >= len(self._tokens):
            return JqError("jq: unexpected end of the expression")
        token = self._tokens[self._at]
        return JqError(f"jq: unexpected {token.text or 'string'} at character {token.at + 1}")

    def _take(self, text: str) -> bool:
        if self._peek() != text:
            return False
        self._at += 1
        return True

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._unexpected()

    def _pipe(self) -> Node:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise JqError("jq: nested too deeply")
        stages = [self._stage()]
        while self._take("|"):
            stages.append(self._stage())
        self._depth -= 1
        result = stages.pop()
        while stages:
            result = Binary("|", stages.pop(), result)
        return result

    def _stage(self) -> Node:
        return self._define() if self._peek() == "def" else self._level(0)

    def definitions(self) -> list[Define]:
        """Return functions that follow one another."""
        found = []
        while self._at < len(self._tokens):
            found.append(self._function())
        return found

    def _define(self) -> Node:
        return replace(self._function(), rest=self._pipe())

    def _function(self) -> Define:
        self._expect("def")
        name = self._next("word").text
        parameters: list[str] = []
        if self._take("("):
            while True:
                token = self._next()
                if token.kind not in ("word", "variable"):
                    raise self._unexpected()
                parameters.append(token.text)
                if not self._take(";"):
                    break
            self._expect(")")
        self._expect(":")
        body = self._pipe()
        self._expect(";")
        return Define(name, tuple(parameters), body, Identity())

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        operators, is_right = _LEVELS[level]
        left = self._level(level + 1)
        while (operator := self._peek()) in operators:
            self._at += 1
            left = Binary(operator, left, self._level(level if is_right else level + 1))
            if is_right is None and self._peek() in operators:
                raise self._unexpected()
        return left

    def _unary(self) -> Node:
        if self._take("-"):
            return Negative(self._unary())
        if self._peek() == "label":
            self._at += 1
            name = self._next("variable").text
            self._expect("|")
            return Label(name, self._pipe())
        term = self._postfix()
        if not self._take("as"):
            return term
        if self._at < len(self._tokens) and self._tokens[self._at].text in ("[", "{"):
            raise JqError("jq: destructuring is not supported: bind a name and index it")
        name = self._next("variable").text
        self._expect("|")
        return Bind(term, name, self._pipe())

    def _postfix(self) -> Node:
        term = self._term()
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind == "field":
                self._at += 1
                term = Index(term, Literal(token.text[1:]))
            elif token.text == "." and self._follows_string_or_bracket():
                self._at += 1
                if self._tokens[self._at].kind == "text":
                    term = Index(term, self._text(self._next(), "@text"))
            elif self._take("["):
                term = self._bracket(term)
            elif self._take("?"):
                # Behind a place the mark speaks of that place alone: what else the term yields goes on.
                term = replace(term, is_optional=True) if isinstance(term, Index | Slice | Iterate) else Try(term)
            else:
                break
        return term

    def _follows_string_or_bracket(self) -> bool:
        following = self._tokens[self._at + 1] if self._at + 1 < len(self._tokens) else None
        return following is not None and (following.kind == "text" or following.text == "[")

    def _bracket(self, term: Node) -> Node:
        if self._take("]"):
            return Iterate(term)
        if self._take(":"):
            stop = self._pipe()
            self._expect("]")
            return Slice(term, None, stop)
        key = self._pipe()
        if self._take(":"):
            stop_or_none = None if self._peek() == "]" else self._pipe()
            self._expect("]")
            return Slice(term, key, stop_or_none)
        self._expect("]")
        return Index(term, key)

    def _text(self, token: Token, format_: str) -> Node:
        parts = [part if isinstance(part, str) else _Parser(part).whole() for part in token.value]
        if len(parts) == 1:
            return Literal(parts[0])
        return Text(tuple(parts), format_)

    def _term(self) -> Node:
        token = self._next()
        match token.kind:
            case "number":
                value = float(token.text)
                return Literal(int(token.text) if token.text.isdecimal() and len(token.text) < 18 else value)
            case "text":
                return self._text(token, "@text")
            case "format":
                return self._formatted(token)
            case "field":
                return Index(Identity(), Literal(token.text[1:]))
            case "variable":
                return Variable(token.text)
            case "word":
                return self._word(token)
        return self._marked(token)

    def _formatted(self, token: Token) -> Node:
        if token.text not in _FORMATS:
            raise JqError(f"jq: format {token.text} is not supported")
        if self._at < len(self._tokens) and self._tokens[self._at].kind == "text":
            return self._text(self._next(), token.text)
        return Format(token.text)

    def _marked(self, token: Token) -> Node:
        match token.text:
            case ".":
                following = self._tokens[self._at] if self._at < len(self._tokens) else None
                if following is not None and following.kind == "text":
                    return Index(Identity(), self._text(self._next(), "@text"))
                return Identity()
            case "..":
                return Call("recurse")
            case "(":
                inner = self._pipe()
                self._expect(")")
                return inner
            case "[":
                if self._take("]"):
                    return Array(None)
                inner = self._pipe()
                self._expect("]")
                return Array(inner)
            case "{":
                return self._object()
        self._at -= 1
        raise self._unexpected()

    def _word(self, token: Token) -> Node:
        match token.text:
            case "if":
                return self._if()
            case "try":
                body = self._postfix()
                return Try(body, self._postfix() if self._take("catch") else None)
            case "reduce" | "foreach":
                return self._fold(token.text)
            case "null" | "true" | "false":
                return Literal({"null": None, "true": True, "false": False}[token.text])
            case "break":
                return Break(self._next("variable").text)
            case "import" | "include":
                raise JqError(f"jq: {token.text} is not supported")
            case word if word in _KEYWORDS:
                self._at -= 1
                raise self._unexpected()
        arguments: list[Node] = []
        if self._take("("):
            arguments.append(self._pipe())
            while self._take(";"):
                arguments.append(self._pipe())
            self._expect(")")
        return Call(token.text, tuple(arguments))

    def _if(self) -> Node:
        condition = self._pipe()
        self._expect("then")
        then = self._pipe()
        if self._take("elif"):
            return If(condition, then, self._if())
        otherwise: Node = self._pipe() if self._take("else") else Identity()
        self._expect("end")
        return If(condition, then, otherwise)

    def _fold(self, word: str) -> Node:
        source = self._postfix()
        self._expect("as")
        name = self._next("variable").text
        self._expect("(")
        start = self._pipe()
        self._expect(";")
        update = self._pipe()
        extract: Node = self._pipe() if word == "foreach" and self._take(";") else Identity()
        self._expect(")")
        return (
            Reduce(source, name, start, update) if word == "reduce" else Foreach(source, name, start, update, extract)
        )

    def _object(self) -> Node:
        entries: list[tuple[Node, Node]] = []
        while not self._take("}"):
            entries.append(self._entry())
            if not self._take(","):
                self._expect("}")
                break
        return Object(tuple(entries))

    def _entry(self) -> tuple[Node, Node]:
        token = self._next()
        if token.kind == "variable":
            return Literal(token.text[1:]), Variable(token.text)
        if token.text == "(":
            key = self._pipe()
            self._expect(")")
            self._expect(":")
            return key, self._value()
        if token.kind not in ("word", "text", "number", "format"):
            self._at -= 1
            raise self._unexpected()
        key = self._text(token, "@text") if token.kind == "text" else Literal(token.text)
        if token.kind == "format":
            key = self._formatted(token)
        return key, self._value() if self._take(":") else Index(Identity(), key)

    def _value(self) -> Node:
        """Return the value of an entry: no comma, and a pipe between terms only."""
        left = self._level(_ALTERNATIVE)
        while self._take("|"):
            left = Binary("|", left, self._level(_ALTERNATIVE))
        return left


def parse(text: str) -> Node:
    """Return the tree of an expression.

    Raises:
        JqError: with the place of what is wrong.
    """
    if len(text) > LENGTH_MAX:
        raise JqError(f"jq: an expression may have at most {LENGTH_MAX} characters")
    tokens = Lexer(text).tokens()
    if not tokens:
        return Identity()
    try:
        return _Parser(tokens).whole()
    except RecursionError as error:
        raise JqError("jq: nested too deeply") from error


def parse_definitions(text: str) -> Mapping[tuple[str, int], Define]:
    """Return the functions that a text defines, by name and number of parameters."""
    found = _Parser(Lexer(text).tokens()).definitions()
    return {(one.name, len(one.parameters)): one for one in found}
