"""The settings of an installation, as its ConfigMap `argocd-cm` says them. Pure.

What cannot be understood leaves the default in force and is told as a problem: one wrong line must not stop syncs.

Source: gitops.md 15; argo-cd: util/settings/settings.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

import yaml

from fairlead.agentsync._auto import Timing
from fairlead.agentsync._judgement import SystemOptions
from fairlead.agentsync.diff import IgnoreRule, IgnoreStatus, KnownTypeField
from fairlead.agentsync.health import refused_scripts
from fairlead.agentsync.resources import ResourceKey
from fairlead.agentsync.tracking import TrackingMethod
from fairlead.core.durations import parse_go_duration

_CUSTOMIZATIONS: Final = "resource.customizations."
_DURATIONS: Final = {
    "timeout.reconciliation": "reconciliation",
    "timeout.reconciliation.jitter": "jitter",
    "timeout.hard.reconciliation": "hard_reconciliation",
}
# Upstream's installation leaves these alone: they come and go with every breath of a cluster, or hold no wish.
DEFAULT_EXCLUSIONS: Final = (
    ("", ("Endpoints",)),
    ("discovery.k8s.io", ("EndpointSlice",)),
    ("coordination.k8s.io", ("Lease",)),
    ("authentication.k8s.io", ("SelfSubjectReview", "TokenReview")),
    (
        "authorization.k8s.io",
        ("LocalSubjectAccessReview", "SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview"),
    ),
    ("certificates.k8s.io", ("CertificateSigningRequest",)),
    ("events.k8s.io", ("*",)),
    ("", ("Event",)),
)


@dataclass(frozen=True, slots=True)
class _Rule:
    """Kinds by globs; an empty list means all."""

    groups: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def names(self, key: ResourceKey) -> bool:
        return _any(self.groups, key.group) and _any(self.kinds, key.kind)


def _any(globs: tuple[str, ...], text: str) -> bool:
    return not globs or any(_glob(pattern).fullmatch(text) for pattern in globs)


def _glob(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."))


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What an installation says.

    Attributes:
        is_excluded: whether a kind is left alone.
        timing: with what is said here in place of the given one.
        problems: what could not be understood, one line each.
    """

    system: SystemOptions = field(default_factory=SystemOptions)
    timing: Timing = field(default_factory=Timing)
    is_excluded: Callable[[ResourceKey], bool] = lambda key: False
    problems: tuple[str, ...] = ()


def read_configuration(data: Mapping[str, str], timing: Timing) -> Configuration:
    """Return what the data of `argocd-cm` says.

    Args:
        timing: what holds where it says nothing.
    """
    reading = _Reading(data)
    spans: dict[str, Any] = {name: span for key, name in _DURATIONS.items() if (span := reading.span(key)) is not None}
    system = SystemOptions(
        tracking_method=reading.method(),
        label_key=data.get("application.instanceLabelKey") or SystemOptions().label_key,
        installation_id=data.get("installationID", ""),
        ignores=reading.ignores(),
        known_type_fields=SystemOptions().known_type_fields + reading.known_fields(),
        **reading.compare_options(),
    )
    exclusions, inclusions = reading.rules("resource.exclusions"), reading.rules("resource.inclusions")
    if exclusions is None:
        exclusions = tuple(_Rule((group,), kinds) for group, kinds in DEFAULT_EXCLUSIONS)

    def is_excluded(key: ResourceKey) -> bool:
        if inclusions and not any(rule.names(key) for rule in inclusions):
            return True
        return any(rule.names(key) for rule in exclusions)

    return Configuration(
        system=system,
        timing=replace(timing, **spans),
        is_excluded=is_excluded,
        problems=(*reading.problems, *refused_scripts(data)),
    )


class _Reading:
    def __init__(self, data: Mapping[str, str]) -> None:
        self._data = data
        self.problems: list[str] = []

    def span(self, key: str) -> timedelta | None:
        text = self._data.get(key, "").strip()
        if not text:
            return None
        try:
            found = parse_go_duration(f"{text}s" if text.isdecimal() and text.isascii() else text)
        except (ValueError, OverflowError) as error:
            self.problems.append(f"{key}: {error}")
            return None
        return max(found, timedelta(0))

    def method(self) -> TrackingMethod:
        text = self._data.get("application.resourceTrackingMethod", "").strip()
        if not text:
            return TrackingMethod.ANNOTATION
        if text in tuple(TrackingMethod):
            return TrackingMethod(text)
        self.problems.append(
            f"application.resourceTrackingMethod: found {text!r}, expected annotation, label or annotation+label"
        )
        return TrackingMethod.ANNOTATION

    def yaml(self, key: str) -> Any:
        text = self._data.get(key, "")
        if not text.strip():
            return None
        try:
            return yaml.safe_load(text)
        except (yaml.YAMLError, RecursionError) as error:
            self.problems.append(f"{key}: no YAML: {str(error).splitlines()[0]}")
            return None

    def rules(self, key: str) -> tuple[_Rule, ...] | None:
        """Return the rules; None: nothing is said."""
        found = self.yaml(key)
        if found is None:
            return None
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            self.problems.append(f"{key}: expected a list of {{apiGroups, kinds, clusters}}")
            return None
        return tuple(_Rule(_texts(entry.get("apiGroups")), _texts(entry.get("kinds"))) for entry in found)

    def compare_options(self) -> dict[str, Any]:
        found = self.yaml("resource.compareoptions")
        if found is None:
            return {}
        if not isinstance(found, dict):
            self.problems.append("resource.compareoptions: expected a mapping")
            return {}
        options: dict[str, Any] = {"ignore_aggregated_roles": found.get("ignoreAggregatedRoles") is True}
        status = found.get("ignoreResourceStatusField")
        # Upstream takes `off` and false, which YAML 1.1 makes one, for `none`.
        status = "none" if status is False or status == "off" else "crd" if status == "crd" else status
        if status in tuple(IgnoreStatus):
            options["ignore_status"] = IgnoreStatus(status)
        elif status is not None:
            self.problems.append(f"resource.compareoptions: ignoreResourceStatusField: found {status!r}")
        return options

    def _customizations(self, what: str) -> list[tuple[str, str, str, Any]]:
        """Return key, group, kind and value of each customization of that sort."""
        found = []
        prefix = f"{_CUSTOMIZATIONS}{what}."
        for key in sorted(self._data):
            if key.startswith(prefix):
                name = key.removeprefix(prefix)
                if name == "all":
                    group = kind = "*"
                else:
                    # Keys of a ConfigMap cannot hold a `*`, so upstream writes the group's dots as they are, then `_`.
                    group, _, kind = name.rpartition("_")
                found.append((key, group, kind, self.yaml(key)))
        return found

    def ignores(self) -> tuple[IgnoreRule, ...]:
        rules = []
        for key, group, kind, value in self._customizations("ignoreDifferences"):
            if not isinstance(value, dict):
                self.problems.append(f"{key}: expected jsonPointers, jqPathExpressions or managedFieldsManagers")
                continue
            rules.append(
                IgnoreRule(
                    group=group,
                    kind=kind,
                    json_pointers=_texts(value.get("jsonPointers")),
                    jq_path_expressions=_texts(value.get("jqPathExpressions")),
                    managed_fields_managers=_texts(value.get("managedFieldsManagers")),
                )
            )
        return tuple(rules)

    def known_fields(self) -> tuple[KnownTypeField, ...]:
        fields = []
        for key, group, kind, value in self._customizations("knownTypeFields"):
            for entry in value if isinstance(value, list) else ():
                if isinstance(entry, dict) and isinstance(entry.get("field"), str):
                    fields.append(
                        KnownTypeField(group=group, kind=kind, field=entry["field"], type=str(entry.get("type") or ""))
                    )
            if not isinstance(value, list):
                self.problems.append(f"{key}: expected a list of {{field, type}}")
        return tuple(fields)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(entry) for entry in value) if isinstance(value, list) else ()
