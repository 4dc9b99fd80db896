"""Digests, passwords and random text.

Source: `Masterminds/sprig` v3.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
import zlib
from collections.abc import Sequence
from typing import Final

from fairlead.core.errors import MissingExtra
from fairlead.secrets._base64 import Base64Error, decode_base64
from fairlead.secrets._templates._errors import FunctionError
from fairlead.secrets._templates._functions._arithmetic import draw
from fairlead.secrets._templates._functions._registry import Context, Registry, Type
from fairlead.secrets._templates._text import runes, unrunes

REGISTRY: Final = Registry()
_add = REGISTRY.add
_STRING, _INT = Type.STRING, Type.INT
_UPPER, _LOWER, _DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"
_ASCII: Final = "".join(map(chr, range(32, 127)))
_BCRYPT_COST: Final = 10
_BLOCK: Final = 16


@_add("sha1sum", takes=(_STRING,))
def _sha1sum(_: Context, text: bytes) -> bytes:
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


@_add("sha256sum", takes=(_STRING,))
def _sha256sum(_: Context, text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


@_add("sha512sum", takes=(_STRING,))
def _sha512sum(_: Context, text: bytes) -> bytes:
    return hashlib.sha512(text).hexdigest().encode()


@_add("adler32sum", takes=(_STRING,))
def _adler32sum(_: Context, text: bytes) -> bytes:
    return b"%d" % zlib.adler32(text)


def hashed_password(c: Context, password: bytes) -> bytes:
    """Return a bcrypt hash, or why there is none.

    Raises:
        MissingExtra: the library is not installed.
    """
    if len(password) > 72:
        return b"failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes"
    try:
        import bcrypt
    except ImportError as error:
        raise MissingExtra("bcrypt", extra="crypto") from error
    c.budget.share(20)
    salt = bcrypt.gensalt(_BCRYPT_COST, prefix=b"2a")
    return bcrypt.hashpw(password, salt)


@_add("bcrypt", takes=(_STRING,))
def _bcrypt(c: Context, password: bytes) -> bytes:
    return hashed_password(c, password)


@_add("htpasswd", takes=(_STRING, _STRING, _STRING))
def _htpasswd(c: Context, user: bytes, password: bytes, algorithm: bytes) -> bytes:
    if b":" in user:
        return b"invalid username: " + user
    if algorithm == b"sha":
        digest = hashlib.sha1(password, usedforsecurity=False).digest()
        return user + b":{SHA}" + base64.b64encode(digest)
    return user + b":" + hashed_password(c, password)


# symmetric encryption


def _key_of(password: bytes) -> bytes:
    return password[:32].ljust(32, b"\0")


@_add("encryptAES", takes=(_STRING, _STRING))
def _encrypt_aes(c: Context, password: bytes, text: bytes) -> bytes:
    if not text:
        return b""
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    except ImportError as error:
        raise MissingExtra("cryptography", extra="crypto") from error
    padding = _BLOCK - len(text) % _BLOCK
    start = c.entropy(_BLOCK)
    encryptor = Cipher(algorithms.AES(_key_of(password)), modes.CBC(start)).encryptor()
    return base64.b64encode(start + encryptor.update(text + bytes([padding]) * padding) + encryptor.finalize())


@_add("decryptAES", takes=(_STRING, _STRING))
def _decrypt_aes(_: Context, password: bytes, encoded: bytes) -> bytes:
    if not encoded:
        return b""
    try:
        data = decode_base64(encoded)
    except Base64Error as error:
        raise FunctionError(str(error)) from error
    if len(data) < 2 * _BLOCK or len(data) % _BLOCK:
        raise FunctionError("crypto/cipher: input not full blocks")
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    except ImportError as error:
        raise MissingExtra("cryptography", extra="crypto") from error
    decryptor = Cipher(algorithms.AES(_key_of(password)), modes.CBC(data[:_BLOCK])).decryptor()
    text = decryptor.update(data[_BLOCK:]) + decryptor.finalize()
    if text[-1] > len(text):
        raise FunctionError("runtime error: slice bounds out of range")
    return text[: len(text) - text[-1]]


# derived passwords: the scheme of Master Password

_TEMPLATES: Final[dict[bytes, tuple[str, ...]]] = {
    b"maximum": ("anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"),
    b"long": tuple(
        # Three groups of four letters, one to two of them with a double consonant, and the odd characters somewhere.
        f"{first}{'no' * (place == 0)}{second}{'no' * (place == 1)}{third}{'no' * (place == 2)}"
        for first, second, third in (
            ("Cvcv", "Cvcv", "Cvcv"),
            ("Cvcc", "Cvcv", "Cvcv"),
            ("Cvcv", "Cvcc", "Cvcv"),
            ("Cvcv", "Cvcv", "Cvcc"),
            ("Cvcc", "Cvcc", "Cvcv"),
            ("Cvcv", "Cvcc", "Cvcc"),
            ("Cvcc", "Cvcv", "Cvcc"),
        )
        for place in range(3)
    ),
    b"medium": ("CvcnoCvc", "CvcCvcno"),
    b"short": ("Cvcn",),
    b"basic": ("aaanaaan", "aannaaan", "aaannaaa"),
    b"pin": ("nnnn",),
}
_VOWELS, _CONSONANTS = "aeiou", "bcdfghjklmnpqrstvwxyz"
_LETTERS: Final = _VOWELS.upper() + _VOWELS + _CONSONANTS.upper() + _CONSONANTS
_CLASSES: Final = {
    "V": _VOWELS.upper(),
    "C": _CONSONANTS.upper(),
    "v": _VOWELS,
    "c": _CONSONANTS,
    "A": _VOWELS.upper() + _CONSONANTS.upper(),
    "a": _LETTERS,
    "n": _DIGITS,
    "o": "@&%?,=[]_:-+*$#!'^~;()/.",
    "x": _LETTERS + _DIGITS + "!@#$%^&*()",
}
_SEED: Final = b"com.lyndir.masterpassword"


def _prefixed(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


@_add("derivePassword", takes=(Type.UINT32, _STRING, _STRING, _STRING, _STRING))
def _derive_password(c: Context, counter: int, kind: bytes, password: bytes, user: bytes, site: bytes) -> bytes:
    templates = _TEMPLATES.get(kind)
    if templates is None:
        return b"cannot find password template " + kind
    c.budget.share(8)
    salt = _SEED + _prefixed(user)
    key = hashlib.scrypt(password, salt=salt, n=32768, r=8, p=2, dklen=64, maxmem=2**27)
    seed = hmac.digest(key, _SEED + _prefixed(site) + counter.to_bytes(4, "big"), "sha256")
    template = templates[seed[0] % len(templates)]
    return "".join(_CLASSES[one][seed[at] % len(_CLASSES[one])] for at, one in enumerate(template, 1)).encode()


# chance


def _random_text(c: Context, count: int, alphabet: Sequence[str]) -> bytes:
    if count < 0:
        return b""
    c.budget.allocate(count)
    c.budget.step(count // 4)
    return "".join(alphabet[draw(c, len(alphabet))] for _ in range(count)).encode()


@_add("randAlpha", takes=(_INT,))
def _rand_alpha(c: Context, count: int) -> bytes:
    return _random_text(c, count, _UPPER + _LOWER)


@_add("randNumeric", takes=(_INT,))
def _rand_numeric(c: Context, count: int) -> bytes:
    return _random_text(c, count, _DIGITS)


@_add("randAlphaNum", takes=(_INT,))
def _rand_alpha_num(c: Context, count: int) -> bytes:
    return _random_text(c, count, _UPPER + _LOWER + _DIGITS)


@_add("randAscii", takes=(_INT,))
def _rand_ascii(c: Context, count: int) -> bytes:
    return _random_text(c, count, _ASCII)


@_add("randBytes", takes=(_INT,))
def _rand_bytes(c: Context, count: int) -> bytes:
    if count < 0:
        raise FunctionError("runtime error: makeslice: len out of range")
    c.budget.allocate(2 * count)
    return base64.b64encode(c.entropy(count))


@_add("uuidv4")
def _uuidv4(c: Context) -> bytes:
    return str(uuid.UUID(bytes=c.entropy(16), version=4)).encode()


@_add("shuffle", takes=(_STRING,))
def _shuffle(c: Context, text: bytes) -> bytes:
    characters = list(runes(text))
    c.budget.step(len(characters) // 4)
    for at in range(len(characters) - 1, 0, -1):
        other = draw(c, at + 1)
        characters[at], characters[other] = characters[other], characters[at]
    return unrunes("".join(characters))
