"""What the oracle of templates is asked: templates by hand, and templates drawn from every function's parameters."""

from __future__ import annotations

import random

from fairlead.secrets._templates._functions import FUNCTIONS
from fairlead.secrets._templates._functions._registry import Type

VALUES = {
    "s": b"Hello World",
    "e": b"",
    "n": b"42",
    "j": b'{"a":1,"b":[1,"x",null,true],"c":{"d":"y","e":1.5}}',
    "l": b'["b","a","c",1,2.5,null]',
    "bin": bytes([255, 254, 0, 104, 195, 169]),
    "u": "éÀß ǆ日本x".encode(),
    "w": b"  two words\there\n",
    "y": b"a: 1\nb: [x, yes]\n",
    "p": b"/a/b/../c.tar.gz",
    "url": b"https://user:p%40ss@ex.com:8080/a%20b?q=1#frag",
    "v": b"1.2.3-beta.1+x",
    "k": b"http_serverName2xx-FooBAR9",
    "neg": b"-7",
    "f": b"3.9",
    "t": b"aaabbb",
    "b64": b"aGVsbG8=",
}
# What depends on chance, on the present, on the order of a map, or differs from sprig on purpose.
LEFT_OUT = {
    "ago", "bcrypt", "buildCustomCert", "call", "date", "dateInZone", "date_in_zone", "encryptAES", "genCA",
    "genCAWithKey", "genPrivateKey", "genSelfSignedCert", "genSelfSignedCertWithKey", "genSignedCert",
    "genSignedCertWithKey", "hexdec", "htmlDate", "htmlDateInZone", "htpasswd", "keys", "now", "randAlpha",
    "randAlphaNum", "randAscii", "randBytes", "randInt", "randNumeric", "rsaDecrypt", "shuffle", "toDate", "uuidv4",
    "values", "certSANs", "filterCertChain", "filterPEM", "fullPemToPkcs12", "fullPemToPkcs12Pass",
    "jwkPrivateKeyPem", "jwkPublicKeyPem", "pemToPkcs12", "pemToPkcs12Pass", "pemTruststoreToPKCS12",
    "pemTruststoreToPKCS12Pass", "pkcs12cert", "pkcs12certPass", "pkcs12key", "pkcs12keyPass",
}  # fmt: skip
_STRINGS = [f".{key}" for key in VALUES] + [
    '"a"', '"b"', '""', '"$1x"', '"[a-z]+"', '"(a)(b)?"', '" "', '","', '"x*"', '"1h30m"', '"_"', '"0x1F"', '"010"',
    '"1e3"', '"UTC"', '"a.b.c"', '"http://h/p"', '">=1.0"', '"%v %5d"', '(printf "%s-%s" .s .n)',
    '`{"a":[1,{"b":null}]}`', '"l1\\nl2\\n"', '"l"', '"/"',
]  # fmt: skip
_WHOLE = ["0", "1", "2", "3", "-1", "5", "10", "-3", "7", "(len .s)", "(atoi .n)", "(int64 3)", "2.0", "100"]
_REAL = ["0.5", "1.5", "-2.25", "1e6", "123456.789", "1e21", "0.1"]
_OTHERS = [
    "nil", "true", "false", "(.j|fromJson)", "(.l|fromJson)", '(list 1 "a" nil 2.5)', '(dict "a" 1 "b" (list 1))',
    '(splitList "," "x,y,z")', "(until 4)", "(list)", "(dict)", "(add 1 2)", ".", '(index (.j|fromJson) "zz")',
    '(split "," "a,b")', "(chunk 2 (until 5))", '(regexFindAll "[a-z]" .t -1)', "'x'", "(index .s 1)",
    '(list "c" "b" "a" "b")',
]  # fmt: skip
_MAPS = ["(.j|fromJson)", '(dict "a" 1 "b" (dict "c" 2))', "(dict)", '(dict "a" "" "x" nil)', "."]
_ANY = _STRINGS + _WHOLE + _REAL + _OTHERS
_TIME = '(toDate "2006-01-02" "2024-05-06")'
_POOL = {
    Type.STRING: _STRINGS,
    Type.INT: _WHOLE,
    Type.FLOAT: _REAL,
    Type.BOOL: ["true", "false", '(eq .n "42")'],
    Type.MAP: _MAPS,
    Type.LIST: ["(list)", '(list "a")'],
    Type.TIME: [_TIME],
    Type.ANY: _ANY,
    Type.UINT32: ["1"],
    Type.CERTIFICATE: ["nil"],
    Type.VERSION: ['(semver "1.2.3")'],
    Type.DURATION: ["5"],
}
_TAILS = ["", "", ' | printf "%v"', ' | printf "%#v"', " | toJson", " | typeOf", ' | printf "%q"', " | toYaml"]
_VERBS = "vvdsqxXeEfgGtTcUoO%"


def call(draw: random.Random, name: str) -> str:
    """Return an action that calls a function, mostly with arguments of the right types."""
    function = FUNCTIONS[name]
    arguments = [draw.choice(_POOL[one] if draw.random() < 0.93 else _ANY) for one in function.parameters]
    if function.rest is not None:
        arguments += [draw.choice(_POOL[function.rest]) for _ in range(draw.choice([0, 1, 1, 2, 3]))]
    if arguments and arguments[-1] != "nil" and draw.random() < 0.3:
        action = f"{arguments[-1]} | {' '.join([name, *arguments[:-1]])}"
    else:
        action = " ".join([name, *arguments])
    tail = draw.choice(_TAILS)
    if "semver" in action or "Time" in action or "toDate" in action:
        tail = ""  # Go prints the inside of these with %#v
    return f"{{{{ {action}{tail} }}}}"


def form(draw: random.Random) -> str:
    """Return an action that calls printf."""
    text = ""
    for _ in range(draw.randint(1, 3)):
        flags = "".join(draw.choice("#0+- ") for _ in range(draw.choice([0, 0, 1, 2])))
        verb = draw.choice(_VERBS)
        if verb in "xXbU":
            flags = flags.replace("#", "")
        text += f"%{flags}{draw.choice(['', '', '5', '12', '*', '[1]'])}{draw.choice(['', '', '', '.2', '.0'])}{verb} "
    values = [*_STRINGS[:8], *_WHOLE, *_REAL, "true", "nil", '(list 1 "a" nil)', '(dict "a" 1.5)', "(until 3)", "'x'"]
    return f"{{{{ printf `{text}` {' '.join(draw.choice(values) for _ in range(draw.randint(0, 4)))} }}}}"


def drawn(seed: int, per_function: int, forms: int) -> list[str]:
    """Return templates without repetition, in a fixed order."""
    draw = random.Random(seed)
    names = [name for name in sorted(FUNCTIONS) if name not in LEFT_OUT]
    found = [call(draw, name) for name in names for _ in range(per_function)]
    return list(dict.fromkeys([*found, *(form(draw) for _ in range(forms))]))


# YAML documents and property paths

_SCALARS = [
    "yes", "no", "y", "n", "on", "Off", "~", "null", "", "1", "012", "0o14", "0x1F", "0b11", "1_000", "1e3", "1.0",
    "1.5e-7", ".5", "5.", "-1", "+1", "-.5", ".inf", ".nan", "12:30:45", "1:30", "2020-01-01", "2020-01-01T10:00:00Z",
    "=", "<<", "12345678901234567890", "123456789012345678901", "0.1", "3.14159265", "1e21", "1e400", '"a"', "'b'",
    "a b", "a: b", "a:b", "#c", "a #c", "- x", "[1, 2]", "{a: 1}", "!!str 1", '!!int "3"', "!foo x", "&a x", "*a",
    "|\n  l1\n  l2", ">-\n  f1\n  f2", "é", "@x", "`x", "%x", "!!binary aGk=", "!!float 1", "0800", "08", "TRUE",
    "tRue", "NULL", "0x", "1__0", "_1", "1_", "-0", "- ", '"\\u00e9\\n"', "a\\nb", "!!null x", "!!bool yes", "0.",
    "1.e2", "+.inf", "x\ty", "1,2", '"unterminated',
]  # fmt: skip
_KEYS = ["a", "b", "n", "1", "yes", "~", '"q"', "k-e.y", "012", "2020-01-01", "é", "1e3", "0.3", "[a]", "? x\n"]
_COMPONENTS = [
    "name", "first", "friends", "children", "#", "0", "1", "2", "*", "f*", "?ge", "@this", "@keys", "@values",
    "@reverse", "@pretty", "@ugly", "@flatten", '@flatten:{"deep":true}', "@join", "@valid", "@group", "@dig:b",
    "{first,last}", '{"x":age,y:name.first}', "[first,age]", '#(last=="Murphy")', '#(last=="Murphy")#', "#(age>45)#",
    "#(age)", '#(nets.#(=="fb"))#', '#(first%"D*")#', '#(first!%"D*")', "#(age<=~true)#", "#(k==~null)#", "nets",
    "last", "age", "a", "x", "b", "c", "d", "arr", "k", "fav\\.movie", "missing", "n", "big", "z", "e", "esc", "!5",
    "#(c>1)#", "#(>2)#", "#(!=2)#", "@nope", "dup", "nested", "t",
]  # fmt: skip
DOCUMENTS = [
    '{"name":{"first":"Tom","last":"Anderson"},"age":37,"children":["Sara","Alex","Jack"],"fav.movie":"Deer Hunter",'
    '"friends":[{"first":"Dale","last":"Murphy","age":44,"nets":["ig","fb"]},'
    '{"first":"Roger","last":"Craig","age":68,"nets":["fb"]},{"first":"Jane","last":"Murphy","age":47,"nets":["ig"]}],'
    '"n":1.50,"big":12345678901234567890,"t":true,"z":null,"e":"","o":{},"esc":"a\\"b\\u00e9"}',
    '{"a": {"x": [1, 2 ,3], "y": "z"}, "arr": [ {"k": 1.0}, {"k":"v"} ], "e": 1e3, "neg":-0, "dup":1, "dup":2}',
    '[1,2,[3,4,{"a":5}],"x",null,true]',
    '{"a":{"b":{"c":[1,2,3]}},"b":[{"c":1},{"c":[5,6]},{"d":null}]}',
]


def yaml_documents(seed: int, count: int) -> list[str]:
    """Return documents of a few keys, some of them with an anchor or a second document."""
    draw = random.Random(seed)
    found: list[str] = []
    for _ in range(count):
        keys = draw.sample(_KEYS, draw.randint(1, 3))
        text = "".join(f"{key}: {draw.choice(_SCALARS)}\n" for key in keys)
        if draw.random() < 0.1:
            text = f"base: &b {{p: 1, q: 2}}\n{text}m: {{<<: *b, q: 3}}\n"
        found.append(f"---\n{text}" if draw.random() < 0.1 else text)
    return list(dict.fromkeys(found))


def properties(seed: int, count: int) -> list[tuple[int, str]]:
    """Return pairs of a document's number and a path."""
    draw = random.Random(seed)
    found: list[tuple[int, str]] = []
    for _ in range(count):
        path = draw.choice(_COMPONENTS)
        for _ in range(draw.choice([0, 1, 1, 2, 2, 3])):
            path += draw.choice("...|") + draw.choice(_COMPONENTS)
        found.append((draw.randrange(len(DOCUMENTS)), path))
    return list(dict.fromkeys(found))
