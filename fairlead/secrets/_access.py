"""Who may use a ClusterSecretStore: its conditions, evaluated at each reading.

Source: `external-secrets: pkg/controllers/secretstore/client_manager.go: shouldProcessSecret`. A namespace is known by
its own name here, where upstream trusts the label `kubernetes.io/metadata.name`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairlead.core import regex
from fairlead.core.selectors import from_label_selector, matches
from fairlead.secrets.spec import StoreCondition

NAME_LABEL = "kubernetes.io/metadata.name"


def is_allowed(conditions: Sequence[StoreCondition], namespace: str, labels: Mapping[str, str]) -> bool:
    """Return whether a namespace may use the store: any entry, and in it any selector, name or pattern, lets it.

    What cannot be understood lets nobody in.
    """
    if not conditions:
        return True
    seen = {**labels, NAME_LABEL: namespace}
    return any(_lets_in(condition, namespace, seen) for condition in conditions)


def denial(store: str, namespace: str) -> str:
    """Return the text of a refusal."""
    return f'using cluster store "{store}" is not allowed from namespace "{namespace}": denied by spec.condition'


def _lets_in(condition: StoreCondition, namespace: str, labels: Mapping[str, str]) -> bool:
    if namespace in condition.namespaces:
        return True
    if condition.namespace_selector is not None:
        wanted = condition.namespace_selector
        try:
            if matches(from_label_selector(wanted.match_labels, wanted.match_expressions), labels):
                return True
        except ValueError:
            pass
    return any(_matches(pattern, namespace) for pattern in condition.namespace_regexes)


def _matches(pattern: str, namespace: str) -> bool:
    try:
        return regex.compile(pattern).test(namespace)
    except (regex.RegexError, regex.RegexLimit):
        return False
