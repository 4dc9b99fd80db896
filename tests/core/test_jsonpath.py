"""Kubernetes' JSONPath: the answers and texts of client-go, and templates that mean harm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.core import jsonpath
from fairlead.core.jsonpath import JsonPath, JsonPathError

DATA: dict[str, Any] = {
    "data": {"ok": True, "n": None, "v": 1.5},
    "list": [1.0, 2.0, 3.0],
    "items": [{"name": "a", "v": 1.0, "k.dot": 7.0}, {"name": "b", "v": 2.0}],
    "s": "abc",
    "e": [],
    "x": {"v": 5.0},
}


@pytest.mark.parametrize(
    ("template", "values"),
    [
        ("{$}", [DATA]),
        ("$.data.ok", ["$.data.ok"]),
        ("{.data.ok}", [True]),
        ("{$.data.ok}", [True]),
        ("{@.data.ok}", [True]),
        ("{ .s }", ["abc"]),
        ("{.data.n}", [None]),
        ("{.list[0]}", [1.0]),
        ("{.list[-1]}", [3.0]),
        ("{.list[0:2]}", [1.0, 2.0]),
        ("{.list[1:]}", [2.0, 3.0]),
        ("{.list[:-1]}", [1.0, 2.0]),
        ("{.list[::2]}", [1.0, 3.0]),
        ("{.list[*]}", [1.0, 2.0, 3.0]),
        ("{.list[1:1]}", []),
        ("{.list[0,2]}", [1.0, 3.0]),
        ("{.e[*]}", []),
        ("{.x.*}", [5.0]),
        ("{..v}", [1.5, 1.0, 2.0, 5.0]),
        ("{.items[*].name}", ["a", "b"]),
        ("{.items[*]['name','v']}", ["a", "b", 1.0, 2.0]),
        ("{.items[0].k\\.dot}", [7.0]),
        ("{.items[0]['k\\.dot']}", [7.0]),
        ("{['x']['v']}", [5.0]),
        ('{.items[?(@.name=="b")].v}', [2.0]),
        ("{.items[?(@.name!='b')].name}", ["a"]),
        ("{.items[?(@.v>1.0)].name}", ["b"]),
        ("{.items[?(@.v<=1.0)].name}", ["a"]),
        ("{.items[?(@.k\\.dot)].name}", ["a"]),
        ("{.items[?(@.zz)].name}", []),  # nothing passes, and no field is missed in nothing
        ("{range .items[*]}{.name}{end}", ["a", "b"]),
        ("{range .items[*]}[{.name}]{end}!", ["[", "a", "]", "[", "b", "]", "!"]),
        ("{range .e[*]}{range .x}{.name}{end}{end}!", ["!"]),
        ("a{.s}b", ["a", "abc", "b"]),
        ("{'q\\'s'}{1}{-2.5}{true}", ["q's", 1, -2.5, True]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_values(template: str, values: list[Any]) -> None:
    assert jsonpath.compile(template).find(DATA) == values


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("{.zz}", "zz is not found"),
        ("{.}", " is not found"),
        ("{.data.n.x}", "x is not found"),
        ("{.items[0]['k.dot']}", "k is not found"),
        ("{.list[5]}", "array index out of bounds: index 5, length 3"),
        ("{.list[-4]}", "array index out of bounds: index -1, length 3"),
        ("{.e[0]}", "array index out of bounds: index 0, length 0"),
        ("{.list[0:5]}", "array index out of bounds: index 4, length 3"),
        ("{.list[2:1]}", "starting index 2 is greater than ending index 1"),
        ("{.list[0:2:0]}", "step must be > 0"),
        ("{.s[0]}", "string is not array or slice"),
        ("{.data[0]}", "map[string]interface {} is not array or slice"),
        ("{.data[?(@.v)]}", "map[string]interface {} is not array or slice and cannot be filtered"),
        ("{.items[?(@.v>1)].name}", "incompatible types for comparison"),
        ("{.items[?(@>1.0)].name}", "invalid type for comparison"),
        ("{.items[?(@.v=1.0)].name}", "unrecognized filter operator ="),
        ("{.items[?(@.*==1.0)].name}", "can only compare one element at a time"),
        ("{.data", "unclosed action"),
        ("{.data\n}", "unclosed action"),
        ("{.list[0", "unterminated array"),
        ("{.list[a]}", "invalid array index a"),
        ("{.list[-]}", "array index - is not a number"),
        ("{.items[?(@.v", "unterminated filter"),
        ("{.items[?(@.v==1.0)}", "unclosed array expect ]"),
        ("{'abc}", "unterminated quoted string"),
        ("{1.2.3}", "cannot parse number 1.2.3"),
        ("{!}", "unrecognized character in action: U+0021 '!'"),
        ("{....}", "invalid multiple recursive descent"),
        ("{foo}", "unrecognized identifier foo"),
        ("{end}", "not in range, nothing to end"),
    ],
    ids=lambda value: value,
)
def test_errors(template: str, error: str) -> None:
    with pytest.raises(JsonPathError) as caught:
        jsonpath.compile(template).find(DATA)
    assert str(caught.value) == error


def _nested(depth: int) -> Any:
    data: Any = 1
    for _ in range(depth):
        data = {"a": data}
    return data


@pytest.mark.parametrize(
    ("template", "data"),
    [
        pytest.param("{" + "..*" * 40 + "}", {"a": list(range(50)), "b": _nested(50)}, id="recursion-squared"),
        pytest.param("{..a}", _nested(900), id="deep-data"),
        pytest.param("{.list" + "[0,0]" * 40 + "}", DATA, id="unions-double"),
        pytest.param("{[?(@" + "[?(@" * 40 + ")]" * 41 + "}", [1], id="filters-nest"),
        pytest.param("{range .list[*]}" * 200, DATA, id="ranges-nest"),
        pytest.param("x" * 20_000, DATA, id="long"),
        pytest.param("{.list[" + "9" * 5_000 + "]}", DATA, id="huge-index"),
    ],
)
def test_templates_that_mean_harm_end_in_an_error(template: str, data: Any) -> None:
    with pytest.raises(JsonPathError):
        JsonPath(template).find(data)


@given(
    st.text(alphabet="{}[]().*$@?'\"\\:,-0129axvlist =<>!&|rangend\n", max_size=40)
    | st.lists(
        st.sampled_from(
            ["{", "}", ".items", ".v", "[*]", "[0]", "[-1:]", "..", "[?(@.v>1.0)]", ".*", "{range ", "{end}"]
        ),
        max_size=8,
    ).map("".join)
)
def test_any_text_is_a_template_or_a_clear_error(template: str) -> None:
    try:
        values = JsonPath(template).find(DATA)
    except JsonPathError as error:
        assert str(error)
        return
    assert isinstance(values, list)
