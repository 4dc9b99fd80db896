"""Label selectors: parse the query form, format and match.

Source: `k8s.io/apimachinery: pkg/labels/selector.go`, `pkg/apis/meta/v1: LabelSelector`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_SPLIT = re.compile(r",(?![^()]*\))")
_SET = re.compile(r"^\s*([^\s!=<>,()]+)\s+(in|notin)\s+\(([^()]*)\)\s*$")
_EQUAL = re.compile(r"^\s*([^\s!=<>,()]+)\s*(==|=|!=)\s*([^\s!=<>,()]*)\s*$")
_EXISTS = re.compile(r"^\s*(!?)\s*([^\s!=<>,()]+)\s*$")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term: `key`, an operator (`In`, `NotIn`, `Exists`, `DoesNotExist`) and its values."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        present = self.key in labels
        match self.operator:
            case "In":
                return present and labels[self.key] in self.values
            case "NotIn":
                return not present or labels[self.key] not in self.values
            case "Exists":
                return present
            case _:
                return not present


Selector = tuple[Requirement, ...]


def parse(text: str) -> Selector:
    """Return the terms of a selector such as `app=web,tier in (a, b),!legacy`; empty text selects everything.

    Raises:
        ValueError: naming the term that is none.
    """
    terms: list[Requirement] = []
    for part in _SPLIT.split(text) if text.strip() else ():
        if match := _SET.match(part):
            values = tuple(value.strip() for value in match.group(3).split(","))
            terms.append(Requirement(match.group(1), "In" if match.group(2) == "in" else "NotIn", values))
        elif match := _EQUAL.match(part):
            operator = "NotIn" if match.group(2) == "!=" else "In"
            terms.append(Requirement(match.group(1), operator, (match.group(3),)))
        elif match := _EXISTS.match(part):
            terms.append(Requirement(match.group(2), "DoesNotExist" if match.group(1) else "Exists"))
        else:
            raise ValueError(f"unable to parse requirement: {part.strip()!r}")
    return tuple(terms)


def matches(selector: Selector, labels: Mapping[str, str]) -> bool:
    """Return whether every term holds."""
    return all(requirement.matches(labels) for requirement in selector)


def from_label_selector(
    match_labels: Mapping[str, str], match_expressions: Sequence[Mapping[str, object]] = ()
) -> Selector:
    """Return the terms of a `metav1.LabelSelector`, sorted by key as the API server prints them.

    Raises:
        ValueError: naming an operator that does not exist, or values that it cannot have.
    """
    terms = [Requirement(key, "In", (value,)) for key, value in match_labels.items()]
    for expression in match_expressions:
        operator, key = str(expression.get("operator", "")), str(expression.get("key", ""))
        raw = expression.get("values") or ()
        values = tuple(str(value) for value in raw) if isinstance(raw, Sequence) else ()
        if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            raise ValueError(f'"{operator}" is not a valid label selector operator')
        if operator in ("In", "NotIn") and not values:
            raise ValueError(f"{key}: for 'in', 'notin' operators, values set can't be empty")
        if operator in ("Exists", "DoesNotExist") and values:
            raise ValueError(f"{key}: values set must be empty for exists and does not exist")
        terms.append(Requirement(key, operator, values))
    return tuple(sorted(terms, key=lambda term: term.key))


def format_selector(selector: Selector) -> str:
    """Return the query form: `app=web,tier in (a,b),!legacy`."""
    return ",".join(_format(term) for term in selector)


def _format(term: Requirement) -> str:
    match term.operator:
        case "Exists":
            return term.key
        case "DoesNotExist":
            return f"!{term.key}"
        case "In" if len(term.values) == 1:
            return f"{term.key}={term.values[0]}"
        case "NotIn" if len(term.values) == 1:
            return f"{term.key}!={term.values[0]}"
        case _:
            word = "in" if term.operator == "In" else "notin"
            return f"{term.key} {word} ({','.join(sorted(term.values))})"
