"""Who may use a ClusterSecretStore."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.secrets._access import denial, is_allowed
from fairlead.secrets.spec import decode_store_spec


def conditions(*entries: dict[str, Any]) -> Any:
    raw = msgspec.json.encode({"provider": {"fake": {}}, "conditions": list(entries)})
    return decode_store_spec(raw).conditions


@pytest.mark.parametrize(
    ("entries", "allowed"),
    [
        pytest.param([], True, id="none"),
        pytest.param([{"namespaces": ["shop"]}], True, id="name"),
        pytest.param([{"namespaces": ["blog"]}], False, id="other-name"),
        pytest.param([{"namespaces": ["blog"]}, {"namespaces": ["shop"]}], True, id="any-entry"),
        pytest.param([{"namespaces": ["blog"], "namespaceRegexes": ["^sh"]}], True, id="any-part-of-an-entry"),
        pytest.param([{"namespaceRegexes": ["ho"]}], True, id="pattern-is-not-anchored"),
        pytest.param([{"namespaceRegexes": ["^ho"]}], False, id="pattern-with-an-anchor"),
        pytest.param([{"namespaceRegexes": ["("]}], False, id="broken-pattern-lets-nobody-in"),
        pytest.param([{"namespaceRegexes": ["(a+)+$"]}], False, id="hostile-pattern"),
        pytest.param([{"namespaceSelector": {}}], True, id="empty-selector-matches-all"),
        pytest.param([{"namespaceSelector": {"matchLabels": {"team": "a"}}}], True, id="label"),
        pytest.param([{"namespaceSelector": {"matchLabels": {"team": "b"}}}], False, id="other-label"),
        pytest.param(
            [{"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]}}],
            True,
            id="expression",
        ),
        pytest.param(
            [{"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "Is"}]}}],
            False,
            id="broken-selector-lets-nobody-in",
        ),
        pytest.param(
            [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}}], True, id="own-name"
        ),
        pytest.param(
            [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "blog"}}}],
            False,
            id="a-label-that-lies-about-the-name",
        ),
    ],
)
def test_conditions(entries: list[dict[str, Any]], allowed: bool) -> None:
    labels = {"team": "a", "kubernetes.io/metadata.name": "blog"}
    assert is_allowed(conditions(*entries), "shop", labels) is allowed


def test_the_refusal_says_which_store_and_namespace() -> None:
    expected = 'using cluster store "s" is not allowed from namespace "shop": denied by spec.condition'
    assert denial("s", "shop") == expected
