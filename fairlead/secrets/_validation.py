"""The rules of admission, checked here as well: fairlead may run without a webhook.

Source: `external-secrets: apis/externalsecrets/v1/externalsecret_validator.go`.
"""

from __future__ import annotations

from collections import Counter

from fairlead.core.errors import SpecError
from fairlead.core.regex import RegexError, RegexLimit
from fairlead.core.regex import compile as compile_regex
from fairlead.secrets.spec import (
    CreationPolicy,
    DataFrom,
    DeletionPolicy,
    ExternalSecretSpec,
    SecretStoreSpec,
    Template,
)

SERVICE_ACCOUNT_TYPE = "kubernetes.io/service-account-token"
BOOTSTRAP_TYPE = "bootstrap.kubernetes.io/token"
SERVICE_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_TARGETS = frozenset({"", "data", "annotations", "labels"})


def problems(spec: ExternalSecretSpec) -> list[SpecError]:
    """Return everything that is wrong with the spec of an ExternalSecret, in the order of its fields."""
    found: list[SpecError] = []
    try:
        _ = spec.interval
    except SpecError as error:
        found.append(error)
    creation, deletion = spec.target.creation, spec.target.deletion
    path = "spec.target.deletionPolicy"
    if deletion is DeletionPolicy.DELETE and (creation.keeps_foreign_keys or creation is CreationPolicy.NONE):
        found.append(SpecError(f"Delete must not be used with creationPolicy {creation}", path=path))
    if deletion is DeletionPolicy.MERGE and creation is CreationPolicy.NONE:
        found.append(SpecError("Merge must not be used with creationPolicy None: there is nothing to merge", path=path))
    if spec.target.template is not None:
        found += template_problems(spec.target.template)
    if not spec.data and not spec.data_from:
        found.append(SpecError("either data or dataFrom must be there", path="spec"))
    if deletion is DeletionPolicy.RETAIN:
        counts = Counter(entry.secret_key for entry in spec.data)
        found += [
            SpecError(f"duplicate secretKey {key}", path="spec.data") for key, count in counts.items() if count > 1
        ]
    for index, entry in enumerate(spec.data_from):
        found += _source_problems(entry, f"spec.dataFrom[{index}]")
    return found


def template_problems(template: Template) -> list[SpecError]:
    """Return why a Secret must not be made from a template: it would mint tokens, or is for another place."""
    found: list[SpecError] = []
    path = "spec.target.template"
    targets = [entry.target.lower() for entry in template.template_from]
    if template.type == BOOTSTRAP_TYPE:
        found.append(SpecError(f"{BOOTSTRAP_TYPE} is not allowed", path=f"{path}.type"))
    if template.type == SERVICE_ACCOUNT_TYPE and (
        SERVICE_ACCOUNT_NAME in template.metadata.annotations or "annotations" in targets
    ):
        detail = f"{SERVICE_ACCOUNT_TYPE} is not allowed with the annotation {SERVICE_ACCOUNT_NAME}"
        found.append(SpecError(detail, path=f"{path}.type"))
    for index, target in enumerate(targets):
        if target not in _TARGETS:
            where = f"{path}.templateFrom[{index}].target"
            found.append(SpecError("expected Data, Annotations or Labels for a Secret", path=where))
    return found


def _source_problems(entry: DataFrom, path: str) -> list[SpecError]:
    generator = entry.source_ref is not None and entry.source_ref.generator_ref is not None
    chosen = sum((entry.find is not None, entry.extract is not None, generator))
    if chosen > 1:
        return [SpecError("only one of extract, find and generatorRef can be given", path=path)]
    found: list[SpecError] = []
    if entry.source_ref is not None and entry.source_ref.store_ref is None and not generator:
        found.append(SpecError("storeRef or generatorRef must be given", path=f"{path}.sourceRef"))
    elif chosen == 0:
        found.append(SpecError("one of extract, find and generatorRef must be given", path=path))
    for index, rewrite in enumerate(entry.rewrite):
        operations = (rewrite.regexp, rewrite.transform, rewrite.merge)
        if sum(operation is not None for operation in operations) > 1:
            detail = "only one of regexp, transform and merge can be given"
            found.append(SpecError(detail, path=f"{path}.rewrite[{index}]"))
    return found


def store_problems(spec: SecretStoreSpec) -> list[SpecError]:
    """Return what is wrong with the spec of a store, its provider's block aside."""
    found: list[SpecError] = []
    if len(spec.provider) != 1:
        found.append(SpecError(f"expected exactly one provider, found {len(spec.provider)}", path="spec.provider"))
    try:
        _ = spec.revalidate_after
    except SpecError as error:
        found.append(error)
    for index, condition in enumerate(spec.conditions):
        for number, pattern in enumerate(condition.namespace_regexes):
            try:
                compile_regex(pattern)
            except (RegexError, RegexLimit) as error:
                where = f"spec.conditions[{index}].namespaceRegexes[{number}]"
                found.append(SpecError(str(error), path=where))
    return found
