"""From what a client sends to what is stored: decode, default, prune, validate, count generations.

Pure functions over JSON data; who owns which field and what is committed is decided in `api.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairlead.core.errors import Cause, Unavailable
from fairlead.testing import custom, defaults, failures, names, rules, schema
from fairlead.testing.managed import same
from fairlead.testing.resources import Resource
from fairlead.testing.storage import Json, copy_json

# The server's own: a client may send them back, and changes nothing by it.
SYSTEM = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")


def check_identity(resource: Resource, version: str, body: Any, namespace: str, name: str) -> None:
    """Refuse a body that is no object of this kind, or another one than the path names.

    Built-in kinds may leave out apiVersion and kind, as on the real server.
    """
    if not isinstance(body, dict):
        raise failures.bad_request("the object provided is unrecognized (must be a JSON object)")
    if resource.custom and not body.get("kind"):
        raise failures.bad_request(
            f"the object provided is unrecognized (must be of type {resource.kind}): Object 'Kind' is missing"
        )
    expected = resource.api_version(version)
    api_version = body.setdefault("apiVersion", expected)
    kind = body.setdefault("kind", resource.kind)
    if kind != resource.kind and resource.custom:
        cause = failures.bad_value("kind", kind, f"must be {resource.kind}")
        raise failures.invalid(kind, resource.group, (body.get("metadata") or {}).get("name", ""), (cause,))
    if kind != resource.kind:
        raise failures.bad_request(
            f'{kind} in version "{version}" cannot be handled as a {resource.kind}: it is another kind'
        )
    if api_version != expected:
        raise failures.bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version ({expected})"
        )
    metadata = body.setdefault("metadata", {})
    problem = names.check_types(metadata)
    if not problem and not resource.custom:
        problem = rules.undecodable(resource.kind, body)
    if problem:
        shown = f'{resource.kind} in version "{version}"'
        raise failures.bad_request(f"{shown} cannot be handled as a {resource.kind}: {problem}")
    found = metadata.get("namespace") or namespace
    if found != namespace:
        raise failures.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if name and metadata.get("name") and metadata["name"] != name:
        raise failures.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
        )


def without_nulls(value: Any) -> Any:
    """Return JSON data without members that are null, as typed kinds read it."""
    if isinstance(value, dict):
        return {key: without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def complete(resource: Resource, version: str, data: Json) -> tuple[Json, list[str]]:
    """Return the object defaulted and pruned, in the storage version, and the fields that were dropped."""
    dropped: list[str] = []
    data["metadata"] = {key: value for key, value in data["metadata"].items() if value not in (None, {}, [])}
    if resource.custom:
        served = resource.version(version)
        assert served is not None and served.schema is not None, "a custom version has a schema"
        dropped = schema.prune(data, served.schema)
        schema.default(data, served.schema)
    elif resource.collection == custom.COLLECTION:
        custom.default(data)
    else:
        data = without_nulls(data)
        defaults.built_in(resource.kind, data)
    data["apiVersion"] = resource.api_version()
    return data, dropped


def check_strict(resource: Resource, version: str, dropped: list[str]) -> None:
    """Refuse unknown fields, as `fieldValidation=Strict` asks."""
    if dropped:
        listed = ", ".join(f'unknown field "{path}"' for path in sorted(dropped))
        kind = f'{resource.kind} in version "{version}"'
        raise failures.bad_request(f"{kind} cannot be handled as a {resource.kind}: strict decoding error: {listed}")


def check_declared(resource: Resource, version: str, config: Json) -> None:
    """Refuse to apply a field that the schema does not declare: the server cannot tell how it would merge.

    Raises:
        Unavailable: that is what 500 means to a client, and 500 is what the server answers.
    """
    if not resource.custom:
        return
    served = resource.version(version)
    assert served is not None and served.schema is not None, "a custom version has a schema"
    dropped = schema.prune(copy_json(config), served.schema)
    if dropped:
        metadata = config["metadata"]
        where = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
        what = f"{where}; {config['apiVersion']}, Kind={config['kind']}"
        problems = [f".{path}: field not declared in schema" for path in sorted(dropped)]
        listed = problems[0] if len(problems) == 1 else "errors:\n  " + "\n  ".join(problems)
        raise Unavailable(f"failed to create typed patch object ({what}): {listed}", status=500)


def check(resource: Resource, version: str, new: Json, old: Json | None, subresource: str = "") -> None:
    """Refuse an object that is not valid; through `status` only the status is looked at.

    Raises:
        Invalid: with a cause for every field that is wrong.
    """
    causes: list[Cause] = names.check_metadata(new["metadata"], resource.name_rule)
    if resource.custom:
        served = resource.version(version)
        assert served is not None and served.schema is not None, "a custom version has a schema"
        if subresource == "status":
            causes.extend(_check_status(new, old, served.schema))
        else:
            causes.extend(schema.validate(new, served.schema, old=old))
    elif resource.collection == custom.COLLECTION:
        causes.extend(custom.check(new))
    else:
        causes.extend(rules.built_in(resource.kind, new, old))
    if old is not None and old["metadata"].get("deletionTimestamp"):
        added = set(new["metadata"].get("finalizers") or ()) - set(old["metadata"].get("finalizers") or ())
        if added:
            listed = "{" + ", ".join(failures.shown(one) for one in sorted(added)) + "}"
            why = (
                f"no new finalizers can be added if the object is being deleted, found new finalizers []string{listed}"
            )
            causes.append(failures.field_forbidden("metadata.finalizers", why))
    if causes:
        raise failures.invalid(resource.kind, resource.group, new["metadata"].get("name", ""), causes)


def _check_status(new: Json, old: Json | None, whole: Mapping[str, Any]) -> list[Cause]:
    """Validate the status alone; the server then speaks of its fields as if it were the whole body."""
    part = whole.get("properties", {}).get("status")
    if part is None or "status" not in new:
        return []
    causes = schema.validate(new["status"], part, old=(old or {}).get("status"))
    return [
        Cause(reason=cause.reason, message=cause.message, field=f"status.{cause.field}" if cause.field else "status")
        for cause in causes
    ]


def separate(resource: Resource, old: Json, new: Json, subresource: str) -> Json:
    """Return what an update may change: through `status` only the status, through the main endpoint all but it."""
    metadata = {key: value for key, value in new["metadata"].items() if key not in SYSTEM}
    metadata |= {key: old["metadata"][key] for key in SYSTEM if key in old["metadata"]}
    for key in ("name", "namespace", "generateName"):
        if key in old["metadata"]:
            metadata[key] = old["metadata"][key]
    if subresource == "status":
        # Built-in kinds let labels and annotations through here, custom ones do not.
        result = {**old, "metadata": dict(old["metadata"]) if resource.custom else metadata}
        if not resource.custom and "ownerReferences" in old["metadata"]:
            metadata["ownerReferences"] = old["metadata"]["ownerReferences"]
        if "status" in new:
            result["status"] = new["status"]
        else:
            result.pop("status", None)
        return result
    result = {**new, "metadata": metadata}
    if resource.status:
        if "status" in old:
            result["status"] = old["status"]
        else:
            result.pop("status", None)
    if resource.kind == "Service" and not resource.custom:
        _keep_addresses(old, result)
    return result


def _keep_addresses(old: Json, new: Json) -> None:
    """An update that leaves out what was allocated does not give it back."""
    before, after = old.get("spec") or {}, new.get("spec")
    if isinstance(after, dict) and after.get("type") != "ExternalName":
        for name in ("clusterIP", "clusterIPs"):
            if not after.get(name) and name in before:
                after[name] = before[name]


def wish_changed(resource: Resource, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Return whether the change bumps the generation."""
    if not resource.generation:
        return False
    ignored = {"metadata", "apiVersion", "kind", *(("status",) if resource.status else ())}
    fields = resource.wish or (old.keys() | new.keys()) - ignored
    if any(not same(old.get(field), new.get(field)) for field in fields):
        return True
    # Deployments count annotations too: their controller acts on them.
    is_deployment = resource.collection == "deployments.apps"
    return is_deployment and old["metadata"].get("annotations") != new["metadata"].get("annotations")
