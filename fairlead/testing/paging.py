"""Lists in pages: every page of a list shows the same revision."""

from __future__ import annotations

import base64

import msgspec

from fairlead.core.errors import Expired, Unavailable
from fairlead.core.objects import ObjectKey
from fairlead.testing import failures
from fairlead.testing.requests import Listing, ListOptions, Target
from fairlead.testing.storage import Storage, Stored
from fairlead.testing.watching import select


def page(storage: Storage, target: Target, options: ListOptions) -> Listing:
    """Return a page of the objects, sorted by namespace and name; pages of one list show one revision."""
    selection = select(target.resource, target.namespace, options.label_selector, options.field_selector)
    revision, after = storage.revision, ("", "")
    if options.continue_token:
        revision, after = _read_token(options.continue_token)
    elif options.resource_version not in ("", "0"):
        asked = version_number(storage, options.resource_version)
        revision = asked if options.exact else revision
    try:
        objects = storage.at(target.resource.collection, revision)
    except Expired as error:
        if not options.continue_token:
            raise
        message = (
            "The provided continue parameter is too old to display a consistent list result. You can start a new "
            "list without the continue parameter"
        )
        raise Expired(message, status=410, reason="Expired") from error
    keys = [key for key in sorted(objects) if key > after]
    found: list[Stored] = []
    for index, key in enumerate(keys):
        stored = objects[key]
        if not selection.matches(stored):
            continue
        found.append(stored)
        if options.limit and len(found) == options.limit:
            plain = not selection.labels and not selection.fields
            rest = [one for one in keys[index + 1 :] if not target.namespace or one.namespace == target.namespace]
            if not rest:
                break
            token = _write_token(revision, key)
            return Listing(
                items=tuple(found),
                resource_version=str(revision),
                continue_token=token,
                remaining=len(rest) if plain else None,
            )
    return Listing(items=tuple(found), resource_version=str(revision))


def version_number(storage: Storage, text: str) -> int:
    """Return the revision that a resourceVersion names.

    Raises:
        Invalid: it is no number.
        Unavailable: it lies in the future.
    """
    if not text.isdecimal():
        quoted = failures.shown(text)
        problem = f"resourceVersion: Invalid value: {quoted}: strconv.ParseUint: parsing {quoted}: invalid syntax"
        raise failures.bad_request(f"invalid resource version: {problem}")
    version = int(text)
    if version > storage.revision:
        message = f"Timeout: Too large resource version: {version}, current: {storage.revision}"
        raise Unavailable(message, status=504, reason="Timeout", retry_after=1)
    return version


def _write_token(revision: int, key: ObjectKey) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode({"rv": revision, "start": [*key]})).decode()


def _read_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        content = msgspec.json.decode(base64.urlsafe_b64decode(token))
        namespace, name = content["start"]
        return int(content["rv"]), (str(namespace), str(name))
    except (ValueError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise failures.bad_request(f"invalid continue token: continue key is not valid: {error}") from error
