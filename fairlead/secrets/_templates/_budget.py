"""How much one rendering may cost. Templates come from tenants, and run beside those of everybody else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fairlead.core.regex import Work
from fairlead.secrets._templates._errors import TemplateLimit

STEPS_MAX: Final = 100_000  # a step takes about five microseconds; templates of real users need some dozens
BYTES_MAX: Final = 8 * 2**20
OUTPUT_MAX: Final = 2 * 2**20  # Kubernetes takes Secrets of 1 MiB
SOURCE_MAX: Final = 2**20
PATTERN_WORK_MAX: Final = 1_000_000  # automaton steps: about half a second
DEPTH_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a rendering may cost.

    Args:
        steps: evaluated nodes and elements of lists; slow functions count as many.
        allocated_bytes: what functions may read and produce in total.
        output_bytes: what the template may write.
        source_bytes: the length of the template itself.
        depth: how deep pipelines, blocks, templates and data may nest.
    """

    steps: int = STEPS_MAX
    allocated_bytes: int = BYTES_MAX
    output_bytes: int = OUTPUT_MAX
    source_bytes: int = SOURCE_MAX
    depth: int = DEPTH_MAX


class Budget:
    """What is left to spend. One budget may be shared by all templates of an object."""

    __slots__ = ("_bytes", "_output", "_steps", "limits", "patterns")

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._steps = self.limits.steps
        self._bytes = self.limits.allocated_bytes
        self._output = self.limits.output_bytes
        self.patterns = Work(PATTERN_WORK_MAX)  # of all regular expressions together

    def step(self, count: int = 1) -> None:
        """Spend steps.

        Raises:
            TemplateLimit: none are left.
        """
        self._steps -= count
        if self._steps < 0:
            raise TemplateLimit(f"the template needs more than {self.limits.steps} steps")

    def share(self, divisor: int) -> None:
        """Spend one part in so many of all steps: for what is slow by nature, such as making keys."""
        self.step(self.limits.steps // divisor)

    def allocate(self, count: int) -> None:
        """Spend bytes of working memory; call it before they are produced.

        Raises:
            TemplateLimit: none are left.
        """
        self._bytes -= count
        if self._bytes < 0:
            raise TemplateLimit(f"the template works on more than {self.limits.allocated_bytes} bytes")

    def write(self, count: int) -> None:
        """Spend bytes of output.

        Raises:
            TemplateLimit: none are left.
        """
        self._output -= count
        if self._output < 0:
            raise TemplateLimit(f"the template writes more than {self.limits.output_bytes} bytes")
