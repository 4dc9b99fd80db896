"""One measurement judged by its two conditions.

| successCondition | failureCondition | Successful | Failed | Inconclusive |
|---|---|---|---|---|
| empty | empty | the result holds data | - | it holds none |
| set | empty | s | not s | - |
| empty | set | not f, and the result holds data | f | not f, without data |
| set | set | s and not f | f | neither |

Where we differ from upstream on purpose: there success needs no data when no successCondition asks for any. Here a
missing metric is never a pass: a success that nobody stated needs a result that is there (not nil, not empty, no NaN,
no infinity), unless the failureCondition deals with its absence in so many words (`isNil`, `len`, `isNaN` ...). A
successCondition that is true stands as it is, as upstream, also when it is true of nothing (`all(result, # < 5)` of an
empty list); `strict` asks for data, or for words about its absence, there too.

Source: `argo-rollouts: utils/evaluate/evaluate.go`.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

from fairlead.analysis._expressions import ExpressionError, Value, evaluate, mentions
from fairlead.analysis.status import Phase

NO_DATA: Final = "metric result is nil or empty: no data returned from the metric provider"

_ABOUT_ABSENCE: Final = frozenset(["isNil", "default", "len", "nil", "??", "get", "first", "last", "count"])


def judge(
    success: str, failure: str, result: Value, *, now: datetime | None = None, strict: bool = False
) -> tuple[Phase, str]:
    """Return the phase of a measurement and its message, which is empty unless something needs explaining.

    Args:
        success: the successCondition; empty if there is none.
        failure: the failureCondition; empty if there is none.
        result: what was measured.
        now: what `now()` means in the conditions.
        strict: whether a success without data needs a condition that speaks of its absence.
    """
    is_success = is_failure = False
    for name, condition in (("successCondition", success), ("failureCondition", failure)):
        if not condition:
            continue
        try:
            answer = evaluate(condition, result, now=now)
        except ExpressionError as error:
            cause = f"{NO_DATA} ({error.text})" if result.is_missing else error.text
            return Phase.ERROR, f'could not evaluate {name} "{condition}": {cause}'
        if name == "successCondition":
            is_success = answer
        else:
            is_failure = answer
    if is_failure:
        return Phase.FAILED, ""
    if success and not is_success:
        return (Phase.INCONCLUSIVE if failure else Phase.FAILED), ""
    gap = _gap(result, success or failure)
    if gap and (strict or not success):
        return Phase.INCONCLUSIVE, f"a missing metric is no success: {gap}"
    return Phase.SUCCESSFUL, ""


def _gap(result: Value, condition: str) -> str:
    """Return what the result lacks that the condition that let it pass does not speak of; empty if nothing."""
    words = mentions(condition)
    if result.is_missing:
        return "" if words & _ABOUT_ABSENCE else "the result is nil or empty"
    if result.data == "" and not condition:
        return "the result is an empty text"
    values = result.data if isinstance(result.data, list) else [result.data]
    numbers = [value for value in values if isinstance(value, float)]
    if any(math.isnan(number) for number in numbers) and "isNaN" not in words:
        return "the result holds NaN"
    if any(math.isinf(number) for number in numbers) and "isInf" not in words:
        return "the result holds an infinity"
    return ""
