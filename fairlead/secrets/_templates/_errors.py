"""What goes wrong in a template. No message ever holds a value, a literal of the template, or rendered text."""

from __future__ import annotations

from fairlead.core.errors import FairleadError


class TemplateError(FairleadError):
    """A template cannot be parsed or executed.

    Args:
        message: what is wrong, without data.
        line: the line of the template, counted from one; 0 if unknown.
    """

    def __init__(self, message: str, *, line: int = 0) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.message = message
        self.line = line


class TemplateSyntaxError(TemplateError):
    """The text is no template."""


class TemplateRunError(TemplateError):
    """The template is well-formed, and failed with these values."""


class TemplateLimit(TemplateRunError):
    """The template asks for more steps, bytes or depth than a tenant may use."""


class FunctionError(Exception):
    """A function of a template refuses its arguments. The evaluator adds which function it was.

    Args:
        message: what is wrong, without data.
    """
