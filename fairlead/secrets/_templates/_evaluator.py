"""Carries a template out: values in, bytes out, and every step paid for.

Source: Go's `text/template`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, assert_never

from fairlead.core.errors import MissingExtra
from fairlead.core.regex import RegexError, RegexLimit
from fairlead.secrets._templates import _nodes as n
from fairlead.secrets._templates._errors import FunctionError, TemplateError, TemplateLimit, TemplateRunError
from fairlead.secrets._templates._formatting import display
from fairlead.secrets._templates._functions._registry import Context, Function, Type
from fairlead.secrets._templates._methods import method, struct_field
from fairlead.secrets._templates._semver import Version
from fairlead.secrets._templates._times import Duration, Time
from fairlead.secrets._templates._values import Certificate, NoList, StringMap, Value, kind, truth, type_name

_INT64: Final = (-(2**63), 2**63 - 1)


class _Absent(Enum):
    """No value at all, where nil would be one."""

    ABSENT = auto()


ABSENT: Final = _Absent.ABSENT


class _Signal(Enum):
    """How a list of nodes ended, if not at its end."""

    BREAK = auto()
    CONTINUE = auto()


class Evaluator:
    """Executes one template.

    Args:
        tree: the template.
        functions: what it may call, by name.
        context: what functions may use.
        strict: whether a key that a map lacks is an error.
        quotes_literals: whether the text of `fail "text"` may be repeated in the error; never so for a template that
            is itself secret.
    """

    def __init__(
        self,
        tree: n.Tree,
        functions: Mapping[str, Function],
        context: Context,
        *,
        strict: bool = True,
        quotes_literals: bool = True,
    ) -> None:
        self._tree = tree
        self._functions = functions
        self._context = context
        self._budget = context.budget
        self._strict = strict
        self._quotes_literals = quotes_literals
        self._variables: list[tuple[str, Value]] = []
        self._output: list[bytes] = []
        self._line = 1
        self._depth = 0

    def run(self, root: Value) -> bytes:
        """Return what the template writes.

        Raises:
            TemplateRunError: it fails with this root.
            TemplateLimit: it costs too much.
        """
        self._variables = [("$", root)]
        try:
            self._walk(root, self._tree.nodes)
        except TemplateLimit as error:
            raise TemplateLimit(error.message, line=self._line) from None
        except TemplateError as error:
            raise TemplateRunError(error.message, line=self._line) from None
        except RecursionError as error:
            raise TemplateLimit("the template or its data nests too deeply", line=self._line) from error
        return b"".join(self._output)

    def _fail(self, message: str) -> TemplateRunError:
        return TemplateRunError(message)

    def _write(self, text: bytes) -> None:
        self._budget.write(len(text))
        self._output.append(text)

    # nodes

    def _walk(self, dot: Value, nodes: tuple[n.Node, ...]) -> _Signal | None:
        self._depth += 1
        if self._depth > self._budget.limits.depth:
            raise TemplateLimit(f"the template nests more than {self._budget.limits.depth} deep")
        signal: _Signal | None = None
        for node in nodes:
            self._budget.step()
            signal = self._node(dot, node)
            if signal is not None:
                break
        self._depth -= 1
        return signal

    def _node(self, dot: Value, node: n.Node) -> _Signal | None:
        match node:
            case n.Text():
                self._write(node.text)
            case n.Action():
                value = self._pipeline(dot, node.pipeline)
                if not node.pipeline.variables:
                    self._write(b"<no value>" if value is None else display(value, self._budget))
            case n.If() | n.With():
                return self._branch(dot, node)
            case n.Range():
                self._range(dot, node)
            case n.Break():
                return _Signal.BREAK
            case n.Continue():
                return _Signal.CONTINUE
            case n.Call():
                self._call_template(dot, node)
            case _:
                assert_never(node)
        return None

    def _branch(self, dot: Value, node: n.If | n.With) -> _Signal | None:
        visible = len(self._variables)
        value = self._pipeline(dot, node.pipeline)
        signal: _Signal | None
        if truth(value):
            signal = self._walk(value if isinstance(node, n.With) else dot, node.then)
        else:
            signal = self._walk(dot, node.otherwise)
        del self._variables[visible:]
        return signal

    def _range(self, dot: Value, node: n.Range) -> None:
        visible = len(self._variables)
        value = self._pipeline(dot, node.pipeline)
        if isinstance(value, int) and len(node.pipeline.variables) > 1:
            raise self._fail("can't use a number to iterate over more than one variable")
        pairs = self._pairs(value)
        inside = len(self._variables)
        any_pair = False
        for index, element in pairs:
            any_pair = True
            self._budget.step()
            self._bind(node.pipeline, index, element)
            signal = self._walk(element, node.then)
            del self._variables[inside:]
            if signal is _Signal.BREAK:
                break
        if not any_pair:
            self._walk(dot, node.otherwise)
        del self._variables[visible:]

    def _pairs(self, value: Value) -> list[tuple[Value, Value]] | enumerate[Value] | zip[tuple[Value, Value]]:
        if isinstance(value, list):
            return enumerate(value)
        if isinstance(value, dict):
            return [(key, value[key]) for key in sorted(value)]
        if isinstance(value, int) and not isinstance(value, bool):
            kept = type(value)
            return zip(map(kept, range(value)), map(kept, range(value)), strict=True)
        if value is None:
            return []
        raise self._fail(f"range can't iterate over a value of type {type_name(value)}")

    def _bind(self, pipeline: n.Pipeline, index: Value, element: Value) -> None:
        names = pipeline.variables
        if pipeline.is_assignment:
            if len(names) == 2:
                self._assign(names[0], index)
            if names:
                self._assign(names[-1], element)
            return
        # The pipeline itself has declared its variables; the elements go over them.
        at = len(self._variables) - len(names)
        if len(names) == 2:
            self._variables[at] = (names[0], index)
        if names:
            self._variables[-1] = (names[-1], element)

    def _call_template(self, dot: Value, node: n.Call) -> None:
        self._line = node.line
        nodes = self._tree.definitions.get(node.name)
        if nodes is None:
            raise self._fail("a template of that name is not defined")
        root = None if node.pipeline is None else self._pipeline(dot, node.pipeline)
        outer, self._variables = self._variables, [("$", root)]
        self._walk(root, nodes)
        self._variables = outer

    # variables

    def _assign(self, name: str, value: Value) -> None:
        for at in range(len(self._variables) - 1, -1, -1):
            if self._variables[at][0] == name:
                self._variables[at] = (name, value)
                return
        raise self._fail(f"undefined variable: {name}")

    def _variable(self, name: str) -> Value:
        for known, value in reversed(self._variables):
            if known == name:
                return value
        raise self._fail(f"undefined variable: {name}")

    # pipelines

    def _pipeline(self, dot: Value, pipeline: n.Pipeline) -> Value:
        self._line = pipeline.line
        value: Value = ABSENT
        for command in pipeline.commands:
            value = self._command(dot, command, value)
        for name in pipeline.variables:
            if pipeline.is_assignment:
                self._assign(name, value)
            else:
                self._variables.append((name, value))
        return value

    def _command(self, dot: Value, command: n.Command, final: Value) -> Value:
        self._budget.step()
        self._line = command.line
        first, arguments = command.operands[0], command.operands[1:]
        match first:
            case n.Field():
                return self._chain(dot, dot, first.names, arguments, final)
            case n.Chain():
                return self._chain(dot, self._chain_base(dot, first), first.names, arguments, final)
            case n.Variable():
                value = self._variable(first.name)
                if not first.names:
                    self._plain(arguments, final)
                    return value
                return self._chain(dot, value, first.names, arguments, final)
            case n.Identifier():
                return self._call(dot, first.name, arguments, final)
            case n.Pipeline():
                self._plain(arguments, final)
                return self._pipeline(dot, first)
            case n.Nil():
                raise self._fail("nil is not a command")
            case n.Dot() | n.Bool() | n.Number() | n.String():
                self._plain(arguments, final)
                return self._operand(dot, first)
            case _:
                assert_never(first)

    def _plain(self, arguments: tuple[n.Operand, ...], final: Value) -> None:
        if arguments or final is not ABSENT:
            raise self._fail("can't give argument to non-function")

    def _chain_base(self, dot: Value, chain: n.Chain) -> Value:
        if isinstance(chain.node, n.Nil):
            raise self._fail("indirection through explicit nil")
        return self._operand(dot, chain.node)

    def _operand(self, dot: Value, operand: n.Operand) -> Value:
        """Return the value of an operand whose type does not matter."""
        match operand:
            case n.Dot():
                return dot
            case n.Nil():
                return None
            case n.Bool() | n.String():
                return operand.value
            case n.Number():
                return self._constant(operand)
            case n.Field():
                return self._chain(dot, dot, operand.names, (), ABSENT)
            case n.Variable():
                return self._chain(dot, self._variable(operand.name), operand.names, (), ABSENT)
            case n.Chain():
                return self._chain(dot, self._chain_base(dot, operand), operand.names, (), ABSENT)
            case n.Identifier():
                return self._call(dot, operand.name, (), ABSENT)
            case n.Pipeline():
                return self._pipeline(dot, operand)
            case _:
                assert_never(operand)

    def _constant(self, number: n.Number) -> Value:
        if number.imaginary is not None:
            return number.imaginary
        is_hexadecimal = number.text.lower().lstrip("+-").startswith("0x") and "p" not in number.text.lower()
        looks_real = any(one in ".eEpP" for one in number.text) and not is_hexadecimal and number.text[0] != "'"
        if number.whole is not None and not looks_real:
            return number.whole
        return number.real

    # fields and methods

    def _chain(
        self, dot: Value, value: Value, names: tuple[str, ...], arguments: tuple[n.Operand, ...], final: Value
    ) -> Value:
        for name in names[:-1]:
            value = self._field(dot, value, name, (), ABSENT)
        return self._field(dot, value, names[-1], arguments, final) if names else value

    def _field(self, dot: Value, value: Value, name: str, arguments: tuple[n.Operand, ...], final: Value) -> Value:
        self._budget.step()
        if value is None:
            if not self._strict:
                return None
            raise self._fail(f'nil data; no entry for key "{name}"')
        found = method(value, name)
        if found is not None:
            return self._invoke(dot, found, arguments, final)
        has_arguments = bool(arguments) or final is not ABSENT
        if isinstance(value, dict):
            if has_arguments:
                raise self._fail(f"{name} is not a method but has arguments")
            key = name.encode("utf-8", "surrogateescape")
            if key in value:
                return value[key]
            if self._strict:
                raise self._fail(f'map has no entry for key "{name}"')
            return None
        if isinstance(value, Certificate) and (part := struct_field(value, name)) is not None:
            if has_arguments:
                raise self._fail(f"{name} has arguments but cannot be invoked as function")
            return part
        raise self._fail(f"can't evaluate field {name} in type {type_name(value)}")

    # calls

    def _call(self, dot: Value, name: str, arguments: tuple[n.Operand, ...], final: Value) -> Value:
        function = self._functions[name]
        if name in ("and", "or"):
            return self._short_circuit(dot, function, arguments, final)
        if name == "fail" and self._quotes_literals and final is ABSENT and len(arguments) == 1:
            (message,) = arguments
            if isinstance(message, n.String):  # no data: the author's own words
                raise self._fail(f"error calling fail: {message.value.decode('utf-8', 'replace')[:200]}")
        return self._invoke(dot, function, arguments, final)

    def _count(self, function: Function, count: int) -> None:
        wanted = len(function.parameters)
        if function.rest is not None and count < wanted:
            raise self._fail(f"wrong number of args for {function.name}: want at least {wanted} got {count}")
        if function.rest is None and count != wanted:
            raise self._fail(f"wrong number of args for {function.name}: want {wanted} got {count}")

    def _short_circuit(self, dot: Value, function: Function, arguments: tuple[n.Operand, ...], final: Value) -> Value:
        self._count(function, len(arguments) + (final is not ABSENT))
        value: Value = None
        for argument in arguments:
            value = self._operand(dot, argument)
            if truth(value) == (function.name == "or"):
                return value
        return value if final is ABSENT else final

    def _invoke(self, dot: Value, function: Function, arguments: tuple[n.Operand, ...], final: Value) -> Value:
        count = len(arguments) + (final is not ABSENT)
        self._count(function, count)
        types = [*function.parameters, *([function.rest or Type.ANY] * (count - len(function.parameters)))]
        values = [self._argument(dot, argument, types[at]) for at, argument in enumerate(arguments)]
        if final is not ABSENT:
            values.append(self._typed(final, types[-1]))
        self._budget.step()
        self._budget.allocate(sum(len(value) for value in values if isinstance(value, bytes)))
        try:
            result = function.run(self._context, *values)
        except FunctionError as error:
            raise self._fail(f"error calling {function.name}: {error}") from None
        except (RegexError, RegexLimit, MissingExtra) as error:
            raise self._fail(f"error calling {function.name}: {error}") from error
        if isinstance(result, bytes):
            self._budget.allocate(len(result))
        elif isinstance(result, list):
            self._budget.allocate(8 * len(result))
        return result

    def _argument(self, dot: Value, operand: n.Operand, wanted: Type) -> Value:
        """Return the value of an argument; constants take the type that is wanted, if they can."""
        if wanted is Type.ANY:
            return self._operand(dot, operand)
        match operand:
            case n.Nil():
                if wanted in (Type.MAP, Type.LIST, Type.VERSION):
                    return self._typed(None, wanted)
                raise self._fail(f"cannot assign nil to {wanted.value}")
            case n.Bool() if wanted is Type.BOOL:
                return operand.value
            case n.String() if wanted is Type.STRING:
                return operand.value
            case n.Number():
                return self._converted(operand, wanted)
            case n.Bool() | n.String():
                raise self._fail(f"expected {wanted.value}; found a constant of another type")
            case _:
                return self._typed(self._operand(dot, operand), wanted)

    def _converted(self, number: n.Number, wanted: Type) -> Value:
        if wanted is Type.INT and number.whole is not None:
            return number.whole
        if wanted is Type.UINT32 and number.whole is not None and number.whole >= 0:
            return number.whole % 2**32
        if wanted is Type.DURATION and number.whole is not None:
            return Duration(number.whole)
        if wanted is Type.FLOAT and number.real is not None:
            return number.real
        raise self._fail(f"expected {wanted.value}; found a constant of another type")

    def _typed(self, value: Value, wanted: Type) -> Value:
        """Return the value if it is of the type that is wanted."""
        if wanted is Type.ANY:
            return value
        if value is None:
            if wanted is Type.MAP:
                return {}
            if wanted is Type.LIST:
                return []
            raise self._fail(f"invalid value; expected {wanted.value}")
        if not _fits(value, wanted):
            raise self._fail(f"wrong type for value; expected {wanted.value}; got {type_name(value)}")
        return value


def _fits(value: Value, wanted: Type) -> bool:
    match wanted:
        case Type.STRING:
            return isinstance(value, bytes)
        case Type.INT:
            return type(value) is int
        case Type.FLOAT:
            return isinstance(value, float)
        case Type.BOOL:
            return isinstance(value, bool)
        case Type.UINT32:
            return False
        case Type.MAP:
            return isinstance(value, dict) and not isinstance(value, StringMap)
        case Type.LIST:
            return type(value) in (list, NoList)
        case Type.TIME:
            return isinstance(value, Time)
        case Type.DURATION:
            return isinstance(value, Duration)
        case Type.VERSION:
            return isinstance(value, Version)
        case Type.CERTIFICATE:
            return isinstance(value, Certificate)
        case Type.ANY:
            return kind(value) is not None
        case _:
            assert_never(wanted)
