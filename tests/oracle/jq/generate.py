"""Writes `tests/agentsync/data/jq.jsonl`: expressions, inputs, and what the program jq (1.6) makes of them.

.venv/bin/python -m tests.oracle.jq.generate
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

FIXTURE = Path(__file__).parents[2] / "agentsync" / "data" / "jq.jsonl"

PODS = {
    "metadata": {"name": "web", "annotations": {"a.b/c": "1", "d": "2"}, "labels": {"app": "web"}},
    "spec": {
        "replicas": 3,
        "containers": [
            {"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}, {"name": "B"}], "ports": [80, 90]},
            {"name": "istio-proxy", "image": "proxy:1", "args": ["--a", "b"]},
        ],
        "nothing": None,
        "flag": True,
    },
}
NUMBERS = {"a": [3, 1, 2, 2.5, -1], "b": {"x": 1, "y": None, "z": False}, "c": "Hello, World", "d": []}
# Those that name paths: what is left after del() is asked too.
PATHS = r"""
.
.spec
.spec.replicas
.spec.nope
.spec.nope.deeper
.spec?
.spec.replicas.x?
.spec.containers
.spec.containers[0]
.spec.containers[-1]
.spec.containers[9]
.spec.containers[0:1]
.spec.containers[1:]
.spec.containers[:-1]
.spec.containers[]
.spec.containers[].image
.spec.containers[].env[]?
.spec.containers[].env[]?.value
.spec.containers[] | .name, .image
.spec.replicas, .metadata.labels
.metadata.annotations["a.b/c"]
.metadata.annotations."a.b/c"
.["spec"]["replicas"]
."spec"."replicas"
.spec.containers[] | select(.name == "web")
.spec.containers[] | select(.name == "web") | .env[] | select(.name == "A").value
.spec.containers[] | select(.name | startswith("istio"))
.spec.containers[] | select(.name | test("^ist.o-"))
.spec.containers[] | select(.name | test("^ISTIO"; "i"))
.spec.containers[] | select(has("env"))
.spec.containers[] | select(.env) | .env
.spec.containers[] | select(.env | not)
.spec.containers[] | select(.ports[0] > 50)
.spec.containers | map(select(.name == "web"))
.. | .image?
.. | select(type == "number")
..
recurse
.. | objects | select(has("name")) | .name
.spec | .replicas
.spec | (.replicas, .flag)
.spec.nope // .spec.replicas
.spec.replicas // .spec.flag
if .spec.flag then .spec.replicas else .metadata end
if .spec.replicas == 1 then .a elif .spec.replicas == 3 then .spec.flag else .b end
first(.spec.containers[])
first(.spec.containers[] | select(.args))
.spec.containers | first
.spec.containers | last
limit(1; .spec.containers[])
getpath(["spec", "replicas"])
getpath(["a", "b"])
path(.spec)
.spec as $s | .spec.replicas
.metadata.name as $n | .spec.containers[] | select(.name == $n)
paths
[paths]
empty
.spec.containers[]?, .metadata
try .spec.replicas.x
try error("x") catch .
.spec.containers[1, 0]
.metadata | to_entries[] | select(.key == "name")
.metadata["name", "labels"]
.spec[("replicas", "flag")]
def f: .spec; f | .replicas
def f(g): g | .replicas; f(.spec)
def f($k): .[$k]; f("spec")
label $out | .spec, break $out
.spec.containers[.spec.replicas - 3]
.spec.containers[] | .env[1:]?
.spec.replicas[]
.spec.containers.name
..[]?
.[]
.[]?
.spec[]
.["spec"]?
.spec.containers[] | select(.image | contains("proxy"))
.spec.containers[] | select(.name | IN("web", "x"))
.spec.containers[] | select(any(.env[]?; .name == "A"))
.spec.containers[] | select([.env[]?.name] | index("B"))
.spec.containers[] | select(.args | . != null and contains(["b"]))
recurse(.spec | objects)
recurse(.[]?; type == "object") | .replicas?
"""
VALUES = r"""
1
-1
"a"
[1, 2]
{a: 1, "b": 2, c: .a}
{(.c): 1}
{"a", c}
. as $x | {$x}
[.a[] | . * 2]
.a | length
.c | length
null | length
.a | sort
.a | add
[] | add
.a | min
.a | max
.a | reverse
.b | keys
.b | to_entries
.b | with_entries(.value |= tostring)
.b | map_values(. == null)
.a | map(. > 1)
.a | any(. > 2)
.a | all(. > 2)
.c | split(", ")
.c / ", "
["a", 1, null] | join("-")
.c | ascii_downcase
.c | ascii_upcase
.c | ltrimstr("Hello")
.c | rtrimstr("World")
.c | startswith("He")
.c | endswith("He")
.c | contains("lo")
"lo" | inside("hello")
.c | index("o")
.c | rindex("o")
.c | indices("o")
.a | index(2)
[1, [2, [3]]] | flatten
[1, [2, [3]]] | flatten(1)
.a | unique
.a | group_by(. > 1)
.a | sort_by(-.)
.a | min_by(-.)
.a | max_by(-.)
[{a: 1}, {a: 2}, {a: 1}] | unique_by(.a)
.a | first
.a | last
.a | nth(1)
[range(3)]
[range(1; 3)]
[range(0; 10; 4)]
[range(3; 0; -1)]
"\(1 + 2) is \(.c)"
"a" * 3
"a" * 0
{a: {b: 1}} * {a: {c: 2}}
{a: 1} + {b: 2}
[1, 2, 1] - [1]
null + 1
1 + null
5 % 3
-5 % 3
5 / 2
1 / 0
1 + "a"
{} - 1
[1] | .[0] = 5
.a[0] |= . + 1
.a[] += 1
.b.x -= 1
.b.n //= 7
.b.x //= 7
.b |= del(.x)
.a |= map(select(. > 1))
del(.a, .b)
del(.a[0, 1])
del(.a[1:3])
to_entries | length
from_entries? // 1
[{"key": "a", "value": 1}, {"name": "b"}] | from_entries
"1" | tonumber
"x" | tonumber
1 | tostring
[1] | tostring
[1, {a: 2}] | tojson
"[1,2]" | fromjson
[.[] | type]
true and false
true or error
false and error
null // 1
false // false
(false, 1, 2) // 3
empty // 3
[.a[] | if . > 2 then "big" else "small" end]
[.a | to_entries[] | .key]
reduce .a[] as $x (0; . + $x)
[foreach .a[] as $x (0; . + $x)]
[foreach .a[] as $x (0; . + $x; [$x, .])]
[.a[] | select(. >= 2)]
isempty(empty)
isempty(1)
[1, 2] | contains([1])
{a: [1, 2]} | contains({a: [1]})
1 == 1.0
"a" < "b"
[1, 2] < [1, 3]
{} < []
null < false
1 as $x | [$x, $x + 1]
[1 as $x | 2 as $y | $x, $y]
def fac: if . <= 1 then 1 else . * (. - 1 | fac) end; 5 | fac
def f(g): [g, g]; f(.a[0])
def f($a; $b): $a + $b; f(1; 2)
[.a[] as $x | $x * 2]
walk(if type == "number" then . + 1 else . end)
[paths(type == "number")]
[leaf_paths]
[..] | length
@base64 "x\(.c)"
.c | @base64
"YWJj" | @base64d
.a | @json
.a | @text
.a[1:] | .[0]
.c[1:3]
.c[-2:]
null[1:]
[.["a", "c"]]
try error catch .b.x
try error("m") catch .
try (1, error("m"), 3) catch .
[.a[]?]
.c[]?
(1, 2) as $x | $x
[(1, 2) + (10, 20)]
[(1, 2) | (., 10)]
1, 2 | . * 10
- 1 + 2
-(1 + 2)
1 - 1 - 1
8 / 2 / 2
2 * 3 + 4
2 + 3 * 4
1 == 1 and 2 == 2
not
[.b[] | not]
has("a")
.a | has(7)
[.a[] | floor]
2.5 | ceil
2.5 | round
"abc" | explode
[97, 98] | implode
[1, 2] | in([[5], 1])? // 9
"a" | in({a: 1})
until(. == 5; 5)
[1 | while(. < 10; . * 2)]
0 | until(. > 3; . + 1)
.a | .[2:4] = [9]
ltrimstr(1)
"\u00e9\ud83d\ude00"
.b | .x, .y | tostring
"""


def ask(expression: str, value: Any) -> list[Any] | None:
    """Return what jq makes of a value; None when it fails."""
    done = subprocess.run(["jq", "-c", expression], input=json.dumps(value), capture_output=True, text=True, timeout=5)
    return [json.loads(line) for line in done.stdout.splitlines()] if done.returncode == 0 else None


def main() -> None:
    """Ask the program, write the file."""
    rows = []
    for expression in PATHS.strip().splitlines():
        deleted = ask(f"del({expression})", PODS)
        # What cannot be deleted is an error in jq; a rule that fails names nothing.
        rows.append(
            {
                "expression": expression,
                "input": PODS,
                "results": ask(expression, PODS),
                "deleted": deleted[0] if deleted else PODS,
            }
        )
    rows += [
        {"expression": one, "input": NUMBERS, "results": ask(one, NUMBERS), "deleted": None}
        for one in VALUES.strip().splitlines()
    ]
    FIXTURE.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
