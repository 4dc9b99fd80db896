"""What an ExternalSecret's template makes of values, offline: for tests of templates, and for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from fairlead.core.errors import SpecError
from fairlead.core.objects import ObjectMeta
from fairlead.secrets._rendering import rendered, wanted_texts
from fairlead.secrets.spec import decode_spec
from fairlead.secrets.values import SecretBytes


def render_external_secret(
    manifest: Mapping[str, Any], values: Mapping[str, bytes], now: datetime
) -> dict[str, SecretBytes]:
    """Return the data of the Secret that an ExternalSecret makes of values, by key.

    Args:
        manifest: the object as JSON data.
        values: what its stores would give, by `secretKey`.
        now: what `now` and `date` say in templates.

    Raises:
        SpecError: the spec cannot work, or its template takes texts from other objects.
        TemplateError: a template fails; its text holds no value.
    """
    spec = decode_spec(msgspec.Raw(msgspec.json.encode(manifest.get("spec") or {})))
    template = spec.target.template
    if names := wanted_texts(template):
        raise SpecError(
            f"needs {names[0].kind} {names[0].name}, which is not here: only data and literals can be rendered offline",
            path="spec.target.template.templateFrom",
        )
    metadata = manifest.get("metadata")
    owner = msgspec.convert(metadata if isinstance(metadata, Mapping) else {}, ObjectMeta)
    wrapped = {key: SecretBytes(value) for key, value in values.items()}
    return dict(rendered(template, owner, wrapped, {}, now).data)
