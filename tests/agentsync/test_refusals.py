"""Refusals of the API server, word for word, and what is made of them."""

from __future__ import annotations

import json

import pytest

from fairlead.agentsync._refusals import told
from fairlead.agentsync.resources import ResourceKey

SECRET = ResourceKey("", "Secret", "shop", "credentials")
DEPLOYMENT = ResourceKey("apps", "Deployment", "shop", "web")
OBJECT = json.dumps({"kind": "Secret", "data": {"password": "czNjcjN0"}, "note": 'quotes " and \\ are escaped'})
STRICT = f' "" is invalid: patch: Invalid value: {json.dumps(OBJECT)}: strict decoding error: unknown field "dataa"'


@pytest.mark.parametrize("key", [SECRET, DEPLOYMENT])
def test_the_whole_object_is_never_repeated(key: ResourceKey) -> None:
    assert told(key, ValueError(STRICT)) == 'patch: strict decoding error: unknown field "dataa"'


def test_values_are_told_of_what_is_no_secret() -> None:
    text = 'Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
    assert told(DEPLOYMENT, ValueError(text)) == text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        pytest.param(
            'Secret "key" is invalid: data[tls.crt]: Invalid value: "s3cr3t": no certificate',
            'Secret "key" is invalid: data[tls.crt]: Invalid value: no certificate',
            id="quoted",
        ),
        pytest.param("data: Invalid value: [115 51 99]: no", "data: Invalid value: no", id="bytes"),
        pytest.param(
            'type: Unsupported value: "s3cr3t": supported values: "a", "b"',
            'type: Unsupported value: supported values: "a", "b"',
            id="unsupported",
        ),
        pytest.param("data: Required value", "data: Required value", id="nothing-to-hide"),
    ],
)
def test_no_value_of_a_secret_is_told(said: str, shown: str) -> None:
    assert told(SECRET, ValueError(said)) == shown
