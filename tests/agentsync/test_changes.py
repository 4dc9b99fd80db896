"""What differs, in words for people; values of Secrets stay hidden."""

from __future__ import annotations

import base64

import pytest

from fairlead.agentsync.diff import LAST_APPLIED, Change, difference, hide_secrets, render_diff
from fairlead.agentsync.resources import Object
from tests.agentsync.builders_diff import (
    config_map,
    container,
    custom,
    deployment,
    edited,
    pod_spec,
    read,
    secret,
    service,
)

SECRET = base64.b64encode(b"hunter2").decode()
OTHER = base64.b64encode(b"hunter3").decode()


def paths(target: Object, live: Object) -> list[tuple[str, object, object]]:
    return [(one.path, one.wanted, one.found) for one in difference(target, live).changes]


def test_paths_name_items_by_their_keys() -> None:
    live = read(
        deployment(pod_spec(container(env=[{"name": "A", "value": "1"}]), container("proxy"))), last_applied=False
    )
    target = deployment(pod_spec(container(image="x", env=[{"name": "A", "value": "2"}, {"name": "B"}])))
    assert paths(target, live) == [
        ("spec.template.spec.containers[name=web].image", "x", "shop/web:1"),
        ("spec.template.spec.containers[name=web].env[name=A].value", "2", "1"),
        ("spec.template.spec.containers[name=web].env[name=B]", {"name": "B"}, None),
    ]


@pytest.mark.parametrize(
    ("target", "live", "expected"),
    [
        pytest.param(config_map(**{"a.b": "2"}), config_map(**{"a.b": "1"}), ('data["a.b"]', "2", "1"), id="quoted"),
        pytest.param(custom(a=[1, 2]), custom(a=[1, 3]), ("spec.a[1]", 2, 3), id="by-place"),
        pytest.param(custom(a=[1]), custom(a=[1, 2]), ("spec.a", [1], [1, 2]), id="another-length"),
        pytest.param(custom(a=1), custom(a={"b": 1}), ("spec.a", 1, {"b": 1}), id="another-type"),
        pytest.param(
            service(ports=[{"port": 80, "name": "x"}]),
            service(ports=[{"port": 80, "protocol": "TCP", "name": "y"}]),
            ("spec.ports[port=80,protocol=TCP].name", "x", "y"),
            id="two-keys",
        ),
    ],
)
def test_a_change(target: Object, live: Object, expected: tuple[str, object, object]) -> None:
    assert paths(target, read(live, last_applied=False)) == [expected]


def test_an_order_that_counts_is_told() -> None:
    live = read(deployment(pod_spec(container("a"), container("b"))))
    assert paths(deployment(pod_spec(container("b"), container("a"))), live) == [
        ("spec.template.spec.containers (order)", ["name=b", "name=a"], ["name=a", "name=b"])
    ]


def test_values_of_secrets_are_hidden_everywhere() -> None:
    target, live = (
        secret(data={"a": SECRET, "b": SECRET}, stringData={"c": "hunter2"}),
        read(secret(data={"a": OTHER, "d": OTHER})),
    )
    found = difference(target, live)
    assert found.changes == (
        Change(path="data.a", wanted="++++++++", found="+++++++++"),
        Change(path="data.b", wanted="++++++++", found=None),
        Change(path="data.c", wanted="++++++++", found=None),
        Change(path="data.d", wanted=None, found="+++++++++"),
    )
    shown = "\n".join((repr(found), *map(str, found.changes), render_diff(target, live), repr(hide_secrets(live))))
    for value in (SECRET, OTHER, "hunter"):
        assert value not in shown


def test_a_secret_without_data_on_one_side_hides_what_is_new() -> None:
    found = difference(secret(data={"a": SECRET}), read(secret()))
    assert [str(one) for one in found.changes] == ["data: wanted {'a': '++++++++'}, found None"]
    odd = difference(secret(data=SECRET), read(secret(data=OTHER)))
    assert SECRET not in str(odd.changes[0])
    assert OTHER not in str(odd.changes[0])


def test_metadata_of_a_secret_is_shown() -> None:
    target = edited(secret(data={"a": SECRET}), "metadata.labels", {"a": "1"})
    assert [str(one) for one in difference(target, read(secret(data={"a": SECRET}))).changes] == [
        "metadata.labels: wanted {'a': '1'}, found None"
    ]


def test_hiding_covers_the_last_applied_annotation_and_data_of_a_wrong_type() -> None:
    hidden = hide_secrets(read(secret(data={"a": SECRET})))
    assert hidden["metadata"]["annotations"][LAST_APPLIED] == "++++++++"
    assert hide_secrets(secret(data=SECRET))["data"] == "++++++++"
    plain = config_map(a=SECRET)
    assert hide_secrets(plain) is plain


def test_a_rendered_diff_reads_as_people_know_it() -> None:
    assert render_diff(config_map(a="2"), config_map(a="1")) == (
        "===== /ConfigMap shop/settings ======\n"
        "--- live\n"
        "+++ target\n"
        "@@ -1,6 +1,6 @@\n"
        " apiVersion: v1\n"
        " data:\n"
        "-  a: '1'\n"
        "+  a: '2'\n"
        " kind: ConfigMap\n"
        " metadata:\n"
        "   name: settings\n"
    )
    assert render_diff(config_map(a="1"), config_map(a="1")) == ""
    assert render_diff(None, None) == ""
    assert "+kind: ConfigMap" in render_diff(config_map(a="1"), None)
    assert "-kind: ConfigMap" in render_diff(None, config_map(a="1"))


def test_secrets_that_are_equal_show_no_difference_and_others_one_of_length() -> None:
    assert render_diff(secret(data={"a": SECRET}), secret(data={"a": SECRET})) == ""
    text = render_diff(secret(data={"a": SECRET}), secret(data={"a": OTHER}))
    assert "-  a: +++++++++\n+  a: ++++++++\n" in text
