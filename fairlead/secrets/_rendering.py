"""From the values of an ExternalSecret and its template to what its Secret should hold.

Precedence, the later the stronger: the provider's values (where the template keeps them), `templateFrom` in list order,
`template.data`. Without a template the values are the data, and all labels and annotations are copied.

Source: `external-secrets: pkg/controllers/externalsecret: ApplyTemplate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from fairlead.core.errors import SpecError
from fairlead.core.objects import ObjectMeta
from fairlead.secrets import _shaping, _validation
from fairlead.secrets._wish import Rendered
from fairlead.secrets.spec import DecodingStrategy, MergePolicy, Template, TemplateFrom, TemplateScope, TemplateSource
from fairlead.secrets.values import SecretBytes


class TextKind(StrEnum):
    """Where a text of `templateFrom` stands."""

    CONFIG_MAP = "ConfigMap"
    SECRET = "Secret"  # noqa: S105  # no password, a kind


class TextName(NamedTuple):
    """One object that holds texts, in the namespace of the ExternalSecret."""

    kind: TextKind
    name: str


Texts = Mapping[TextName, Mapping[str, SecretBytes]]
"""The data of objects that `templateFrom` names."""


@dataclass(slots=True)
class _Parts:
    """What the Secret is being made of. `place` names one of them in lower case."""

    data: dict[str, SecretBytes] = field(default_factory=dict)
    labels: dict[str, SecretBytes] = field(default_factory=dict)
    annotations: dict[str, SecretBytes] = field(default_factory=dict)

    def place(self, target: str) -> dict[str, SecretBytes]:
        match target.lower():
            case "labels":
                return self.labels
            case "annotations":
                return self.annotations
            case _:
                return self.data


def wanted_texts(template: Template | None) -> tuple[TextName, ...]:
    """Return the objects that a template refers to, each once."""
    names: list[TextName] = []
    for entry in template.template_from if template is not None else ():
        if entry.config_map is not None:
            names.append(TextName(TextKind.CONFIG_MAP, entry.config_map.name))
        if entry.secret is not None:
            names.append(TextName(TextKind.SECRET, entry.secret.name))
    return tuple(dict.fromkeys(names))


def is_costly(template: Template | None) -> bool:
    """Return whether rendering runs templates of a tenant, which may take a while."""
    if template is None:
        return False
    meta = template.metadata
    return bool(template.data or template.template_from or meta.labels or meta.annotations)


def rendered(
    template: Template | None, owner: ObjectMeta, values: Mapping[str, SecretBytes], texts: Texts, now: datetime
) -> Rendered:
    """Return what template and values give.

    Raises:
        SpecError: a template that must not be used, or a text that is not there.
        TemplateError: a template that fails; its text holds no value.
    """
    if template is None:
        return Rendered(data=dict(values), labels=dict(owner.labels), annotations=dict(owner.annotations))
    if problems := _validation.template_problems(template):
        raise problems[0]
    rendering = _shaping.Rendering(values, now)
    parts = _Parts()
    if template.merge_policy is MergePolicy.MERGE or not (template.data or template.template_from):
        parts.data.update(values)
    for entry in template.template_from:
        _apply(entry, rendering, parts, texts)
    for key, text in template.data.items():
        parts.data[key] = rendering.value(key, text)
    for key, text in template.metadata.labels.items():
        parts.labels[key] = rendering.value(key, text)
    for key, text in template.metadata.annotations.items():
        parts.annotations[key] = rendering.value(key, text)
    return Rendered(
        data=parts.data,
        labels=_as_text(parts.labels),
        annotations=_as_text(parts.annotations),
        finalizers=template.metadata.finalizers,
        type=template.type,
    )


def _apply(entry: TemplateFrom, rendering: _shaping.Rendering, parts: _Parts, texts: Texts) -> None:
    place = parts.place(entry.target)
    decoding = entry.values_decoding_strategy
    for kind, source in ((TextKind.CONFIG_MAP, entry.config_map), (TextKind.SECRET, entry.secret)):
        if source is not None:
            _apply_items(source, kind, decoding, rendering, place, texts)
    if entry.literal is not None:
        _put_all(place, rendering.mapping("literal", entry.literal), decoding)


def _apply_items(
    source: TemplateSource,
    kind: TextKind,
    decoding: DecodingStrategy | None,
    rendering: _shaping.Rendering,
    place: dict[str, SecretBytes],
    texts: Texts,
) -> None:
    is_secret = kind is TextKind.SECRET
    held = texts.get(TextName(kind, source.name), {})
    for item in source.items:
        text = held.get(item.key)
        if text is None:
            raise SpecError(f"in {kind} {source.name!r} the key {item.key!r} does not exist")
        if item.template_as is TemplateScope.KEYS_AND_VALUES:
            _put_all(place, rendering.mapping(item.key, text.reveal(), is_secret=is_secret), decoding)
        else:
            value = rendering.value(item.key, text.reveal(), is_secret=is_secret)
            place[item.key] = _shaping.decoded(value, decoding)


def _put_all(
    place: dict[str, SecretBytes], found: Mapping[str, SecretBytes], decoding: DecodingStrategy | None
) -> None:
    for key, value in found.items():
        place[key] = _shaping.decoded(value, decoding)


def _as_text(values: Mapping[str, SecretBytes]) -> dict[str, str]:
    return {key: value.reveal().decode("utf-8", "replace") for key, value in values.items()}
