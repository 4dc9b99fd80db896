"""Tokens to a syntax tree.

Source: Go's `text/template/parse`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from fairlead.secrets._templates._budget import Limits
from fairlead.secrets._templates._errors import TemplateLimit, TemplateSyntaxError
from fairlead.secrets._templates._lexer import Lexeme, Lexer, Token
from fairlead.secrets._templates._nodes import (
    Action,
    Bool,
    Break,
    Call,
    Chain,
    Command,
    Continue,
    Dot,
    Field,
    Identifier,
    If,
    Nil,
    Node,
    Number,
    Operand,
    Pipeline,
    Range,
    String,
    Text,
    Tree,
    Variable,
    With,
)
from fairlead.secrets._templates._numbers import INT64_MAX, INT64_MIN, parse_float, parse_int
from fairlead.secrets._templates._text import runes, seen, unescaped, unquoted

_STARTS: Final = frozenset(
    {
        Token.BOOL,
        Token.CHARACTER,
        Token.DOT,
        Token.FIELD,
        Token.IDENTIFIER,
        Token.NUMBER,
        Token.STRING,
        Token.VARIABLE,
        Token.OPEN,
    }
)
_BRANCHES: Final[dict[str, type[If] | type[With] | type[Range]]] = {"if": If, "with": With, "range": Range}


def parse(source: bytes, functions: Collection[str], limits: Limits, *, left: str = "{{", right: str = "}}") -> Tree:
    """Return the tree of a template.

    Args:
        source: the template.
        functions: the names that it may call.
        limits: how long it may be, and how deep it may nest.
        left: the delimiter in front of actions.
        right: the one behind them.

    Raises:
        TemplateSyntaxError: it is no template.
        TemplateLimit: it is too long, or nests too deeply.
    """
    if len(source) > limits.source_bytes:
        raise TemplateLimit(f"the template is longer than {limits.source_bytes} bytes")
    return _Parser(Lexer(source, left, right).run(), functions, limits.depth).parse()


class _Parser:
    def __init__(self, lexemes: list[Lexeme], functions: Collection[str], depth: int) -> None:
        self._lexemes = lexemes
        self._at = 0
        self._functions = functions
        self._variables = ["$"]
        self._ranges = 0
        self._depth = 0
        self._depth_max = depth
        self._definitions: dict[bytes, tuple[Node, ...]] = {}

    # tokens

    def _next(self) -> Lexeme:
        lexeme = self._lexemes[self._at]
        self._at = min(self._at + 1, len(self._lexemes) - 1)
        return lexeme

    def _peek(self) -> Lexeme:
        return self._lexemes[self._at]

    def _next_word(self) -> Lexeme:
        while self._peek().token is Token.SPACE:
            self._next()
        return self._next()

    def _peek_word(self) -> Lexeme:
        while self._peek().token is Token.SPACE:
            self._next()
        return self._peek()

    def _fail(self, message: str, lexeme: Lexeme | None = None) -> TemplateSyntaxError:
        return TemplateSyntaxError(message, line=(lexeme or self._peek()).line)

    def _unexpected(self, lexeme: Lexeme, context: str) -> TemplateSyntaxError:
        return self._fail(f"unexpected {_shown(lexeme)} in {context}", lexeme)

    def _expect(self, token: Token, context: str) -> Lexeme:
        lexeme = self._next_word()
        if lexeme.token is not token:
            raise self._unexpected(lexeme, context)
        return lexeme

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > self._depth_max:
            raise TemplateLimit(f"the template nests more than {self._depth_max} deep", line=self._peek().line)

    # blocks

    def parse(self) -> Tree:
        nodes: list[Node] = []
        while self._peek().token is not Token.EOF:
            if self._keyword_ahead() == "define":
                self._definition()
                continue
            node, word = self._text_or_action()
            if word:
                raise self._fail(f"unexpected {{{{{word}}}}}")
            if node is not None:
                nodes.append(node)
        return Tree(tuple(nodes), self._definitions)

    def _keyword_ahead(self) -> str:
        if self._peek().token is not Token.LEFT:
            return ""
        at = self._at + 1
        while self._lexemes[at].token is Token.SPACE:
            at += 1
        return self._lexemes[at].text if self._lexemes[at].token is Token.KEYWORD else ""

    def _definition(self) -> None:
        self._next()  # the delimiter
        self._next_word()  # the keyword
        name = self._template_name("define clause")
        self._expect(Token.RIGHT, "define clause")
        outer, self._variables = self._variables, ["$"]
        ranges, self._ranges = self._ranges, 0
        nodes, word = self._list()
        self._variables, self._ranges = outer, ranges
        if word != "end":
            raise self._fail(f"unexpected {{{{{word}}}}} in define clause")
        self._expect(Token.RIGHT, "end")
        self._define(name, nodes)

    def _define(self, name: bytes, nodes: tuple[Node, ...]) -> None:
        """Keep a named template; one that holds nothing but space never replaces another."""
        if name in self._definitions and not _is_blank(self._definitions[name]):
            if not _is_blank(nodes):
                raise self._fail("multiple definition of a template")
            return
        self._definitions[name] = nodes

    def _template_name(self, context: str) -> bytes:
        lexeme = self._next_word()
        if lexeme.token is not Token.STRING:
            raise self._unexpected(lexeme, context)
        return self._string(lexeme)

    def _list(self) -> tuple[tuple[Node, ...], str]:
        """Return the nodes up to `end` or `else`, and which of the two."""
        self._deeper()
        nodes: list[Node] = []
        while self._peek().token is not Token.EOF:
            node, word = self._text_or_action()
            if word:
                self._depth -= 1
                return tuple(nodes), word
            if node is not None:
                nodes.append(node)
        raise self._fail("unexpected EOF")

    def _text_or_action(self) -> tuple[Node | None, str]:
        lexeme = self._next_word()
        if lexeme.token is Token.TEXT:
            return Text(lexeme.text.encode("utf-8", "surrogateescape")), ""
        if lexeme.token is not Token.LEFT:
            raise self._unexpected(lexeme, "input")
        word = self._peek_word()
        if word.token is not Token.KEYWORD or word.text == "nil":
            return self._plain_action(), ""
        self._next_word()
        match word.text:
            case "if" | "with" | "range":
                return self._branch(word.text), ""
            case "end" | "else":
                return None, word.text
            case "block":
                return self._block(word), ""
            case "template":
                return self._call(word), ""
            case "break" | "continue":
                return self._loop_control(word), ""
            case _:
                raise self._unexpected(word, "command")

    def _plain_action(self) -> Node:
        return Action(self._pipeline("command", Token.RIGHT))

    def _loop_control(self, word: Lexeme) -> Node:
        following = self._next_word()
        if following.token is not Token.RIGHT:
            raise self._unexpected(following, f"{{{{{word.text}}}}}")
        if not self._ranges:
            raise self._fail(f"{{{{{word.text}}}}} outside {{{{range}}}}", word)
        return Break() if word.text == "break" else Continue()

    def _branch(self, context: str) -> If | With | Range:
        visible = len(self._variables)
        pipeline = self._pipeline(context, Token.RIGHT)
        self._ranges += context == "range"
        then, word = self._list()
        self._ranges -= context == "range"
        otherwise: tuple[Node, ...] = ()
        if word == "else":
            ahead = self._peek_word()
            if context != "range" and ahead.token is Token.KEYWORD and ahead.text == context:
                # {{else if}}: one inner block, which takes the only {{end}}.
                self._next_word()
                self._deeper()
                otherwise = (self._branch(context),)
                self._depth -= 1
                del self._variables[visible:]
                return _BRANCHES[context](pipeline, then, otherwise)
            following = self._next_word()
            if following.token is not Token.RIGHT:
                raise self._unexpected(following, "else")
            otherwise, word = self._list()
            if word != "end":
                raise self._fail(f"expected end; found {{{{{word}}}}}")
        self._expect(Token.RIGHT, "end")
        del self._variables[visible:]
        return _BRANCHES[context](pipeline, then, otherwise)

    def _call(self, word: Lexeme) -> Call:
        name = self._template_name("template clause")
        pipeline: Pipeline | None = None
        if self._peek_word().token is Token.RIGHT:
            self._next_word()
        else:
            pipeline = self._pipeline("template clause", Token.RIGHT)
        return Call(word.line, name, pipeline)

    def _block(self, word: Lexeme) -> Call:
        name = self._template_name("block clause")
        pipeline = self._pipeline("block clause", Token.RIGHT)
        outer, self._variables = self._variables, ["$"]
        ranges, self._ranges = self._ranges, 0
        nodes, ending = self._list()
        self._variables, self._ranges = outer, ranges
        if ending != "end":
            raise self._fail(f"unexpected {{{{{ending}}}}} in block clause")
        self._expect(Token.RIGHT, "end")
        self._define(name, nodes)
        return Call(word.line, name, pipeline)

    # pipelines

    def _pipeline(self, context: str, end: Token) -> Pipeline:
        self._deeper()
        line = self._peek_word().line
        variables, is_assignment = self._declarations(context)
        commands: list[Command] = []
        while True:
            lexeme = self._peek_word()
            if lexeme.token is end:
                self._next_word()
                self._depth -= 1
                self._check(commands, context)
                return Pipeline(line, tuple(variables), is_assignment, tuple(commands))
            if lexeme.token not in _STARTS and not (lexeme.token is Token.KEYWORD and lexeme.text == "nil"):
                raise self._unexpected(lexeme, context)
            commands.append(self._command())

    def _declarations(self, context: str) -> tuple[list[str], bool]:
        variables: list[str] = []
        while self._peek_word().token is Token.VARIABLE:
            start = self._at
            variable = self._next()
            following = self._peek_word()
            if following.token in (Token.ASSIGN, Token.DECLARE):
                self._next_word()
                variables.append(variable.text)
                self._variables.append(variable.text)
                return variables, following.token is Token.ASSIGN
            if following.token is not Token.OTHER or following.text != ",":
                self._at = start
                break
            self._next_word()
            variables.append(variable.text)
            self._variables.append(variable.text)
            if context != "range" or len(variables) > 1:
                raise self._fail(f"too many declarations in {context}")
            if self._peek_word().token not in (Token.VARIABLE, Token.RIGHT, Token.CLOSE):
                raise self._fail("range can only initialize variables")
        return variables, False

    def _check(self, commands: list[Command], context: str) -> None:
        if not commands:
            raise self._fail(f"missing value for {context}")
        for number, command in enumerate(commands[1:], 2):
            if isinstance(command.operands[0], Bool | Dot | Nil | Number | String):
                raise self._fail(f"non executable command in pipeline stage {number}")

    def _command(self) -> Command:
        line = self._peek_word().line
        operands: list[Operand] = []
        while True:
            self._peek_word()
            operand = self._operand()
            if operand is not None:
                operands.append(operand)
            lexeme = self._next()
            if lexeme.token is Token.SPACE:
                continue
            if lexeme.token in (Token.RIGHT, Token.CLOSE):
                self._at -= 1
            elif lexeme.token is not Token.PIPE:
                raise self._unexpected(lexeme, "operand")
            break
        if not operands:
            raise self._fail("empty command")
        return Command(line, tuple(operands))

    def _operand(self) -> Operand | None:
        node = self._term()
        if node is None or self._peek().token is not Token.FIELD:
            return node
        names: list[str] = []
        while self._peek().token is Token.FIELD:
            names.append(self._next().text[1:])
        match node:
            case Field():
                return Field((*node.names, *names))
            case Variable():
                return Variable(node.name, (*node.names, *names))
            case Bool() | String() | Number() | Nil() | Dot():
                raise self._fail("unexpected . after a term")
            case _:
                return Chain(node, tuple(names))

    def _term(self) -> Operand | None:
        lexeme = self._next_word()
        match lexeme.token:
            case Token.IDENTIFIER:
                if lexeme.text not in self._functions:
                    raise self._fail(f'function "{lexeme.text}" not defined', lexeme)
                return Identifier(lexeme.text)
            case Token.DOT:
                return Dot()
            case Token.KEYWORD if lexeme.text == "nil":
                return Nil()
            case Token.VARIABLE:
                if lexeme.text not in self._variables:
                    raise self._fail(f'undefined variable "{lexeme.text}"', lexeme)
                return Variable(lexeme.text)
            case Token.FIELD:
                return Field((lexeme.text[1:],))
            case Token.BOOL:
                return Bool(lexeme.text == "true")
            case Token.CHARACTER | Token.NUMBER:
                return self._number(lexeme)
            case Token.OPEN:
                return self._pipeline("parenthesized pipeline", Token.CLOSE)
            case Token.STRING:
                return String(self._string(lexeme))
            case _:
                self._at -= lexeme.token is not Token.EOF
                return None

    def _string(self, lexeme: Lexeme) -> bytes:
        try:
            return unquoted(lexeme.text)
        except ValueError as error:
            raise self._fail("a string that Go cannot read", lexeme) from error

    def _number(self, lexeme: Lexeme) -> Number:
        text = lexeme.text
        if lexeme.token is Token.CHARACTER:
            return self._character(lexeme)
        if text.endswith("i"):
            return self._complex(lexeme)
        whole = parse_int(text)
        if whole is not None:
            if not INT64_MIN <= whole <= INT64_MAX:
                raise self._fail("integer overflow", lexeme)
            return Number(text, whole=whole, real=float(whole))
        real = parse_float(text)
        if real is None:
            raise self._fail("illegal number syntax", lexeme)
        if not any(one in ".eEpP" for one in text):
            raise self._fail("integer overflow", lexeme)
        is_whole = real.is_integer() and abs(real) < 2**63
        return Number(text, whole=int(real) if is_whole else None, real=real)

    def _character(self, lexeme: Lexeme) -> Number:
        inner, end = lexeme.text, len(lexeme.text) - 1
        try:
            if inner[1:2] == "\\":
                piece, at = unescaped(inner, 1, end, "'")
                code = piece[0] if len(piece) == 1 else ord(runes(piece))
            else:
                code, at = ord(seen(inner[1:2] or "'")), 2
            if at != end or end < 2:
                raise ValueError(inner)
        except (ValueError, TypeError) as error:
            raise self._fail("malformed character constant", lexeme) from error
        return Number(lexeme.text, whole=code, real=float(code))

    def _complex(self, lexeme: Lexeme) -> Number:
        text = lexeme.text[:-1]
        split = max(text.rfind("+", 1), text.rfind("-", 1))
        if split > 0 and text[split - 1] in "eEpP":
            split = 0
        real = parse_float(text[:split]) if split > 0 else 0.0
        imaginary = parse_float(text[max(split, 0) :])
        if real is None or imaginary is None:
            raise self._fail("illegal number syntax", lexeme)
        if imaginary == 0:  # as good as a real number
            is_whole = real.is_integer() and abs(real) < 2**63
            whole = int(real) if is_whole else None
            return Number(lexeme.text, whole=whole, real=real, imaginary=complex(real, 0))
        return Number(lexeme.text, imaginary=complex(real, imaginary))


def _is_blank(nodes: tuple[Node, ...]) -> bool:
    return all(isinstance(node, Text) and not node.text.strip() for node in nodes)


def _shown(lexeme: Lexeme) -> str:
    """Return a token for a message; literals of the template are not shown."""
    match lexeme.token:
        case Token.EOF:
            return "EOF"
        case Token.STRING | Token.CHARACTER | Token.TEXT | Token.NUMBER:
            return "a literal"
        case Token.KEYWORD:
            return f"<{lexeme.text}>"
        case _:
            return f'"{lexeme.text}"'
