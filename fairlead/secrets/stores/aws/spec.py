"""The `aws` block of a store's spec as typed values, and what can be wrong with it.

Source: `external-secrets: apis/externalsecrets/v1/secretstore_aws_types.go`, `providers/v1/aws/provider.go`.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from fairlead.core.decoding import Decoder, Wire
from fairlead.core.errors import SpecError
from fairlead.secrets.stores import _selectors as selectors
from fairlead.secrets.stores._selectors import SecretKeySelector, Selector, ServiceAccountSelector
from fairlead.secrets.stores.port import StoreSpec

ROOT: Final = "spec.provider.aws"
INJECTED_TAGS: Final = ("esoNamespace", "esoStoreName", "esoStoreKind")


class SecretRef(Wire, frozen=True, kw_only=True):
    access_key_id: SecretKeySelector = msgspec.field(name="accessKeyIDSecretRef", default=SecretKeySelector())
    secret_access_key: SecretKeySelector = msgspec.field(name="secretAccessKeySecretRef", default=SecretKeySelector())
    session_token: SecretKeySelector | None = msgspec.field(name="sessionTokenSecretRef", default=None)


class JwtAuth(Wire, frozen=True, kw_only=True):
    service_account_ref: ServiceAccountSelector | None = None


class Auth(Wire, frozen=True, kw_only=True):
    secret_ref: SecretRef | None = None
    jwt: JwtAuth | None = None


class Tag(Wire, frozen=True, kw_only=True):
    key: str
    value: str = ""


class Aws(Wire, frozen=True, kw_only=True):
    service: Literal["SecretsManager", "ParameterStore", "CertificateManager"]
    region: str
    role: str = ""
    external_id: str = msgspec.field(name="externalID", default="")
    additional_roles: tuple[str, ...] = ()
    session_tags: tuple[Tag, ...] = ()
    transitive_tag_keys: tuple[str, ...] = ()
    session_tags_policy: Literal["None", "Simple", "Custom"] = "None"
    custom_session_tags: dict[str, str] = msgspec.field(default_factory=dict)
    prefix: str = ""
    auth: Auth = Auth()

    @property
    def service_account(self) -> ServiceAccountSelector | None:
        return self.auth.jwt.service_account_ref if self.auth.jwt is not None else None


_decoder: Final = Decoder(Aws, root=ROOT)


def decode(spec: StoreSpec) -> Aws:
    """Return the block. Raises: SpecError."""
    return _decoder.decode(spec.block)


def _selectors(aws: Aws) -> list[tuple[str, Selector | None]]:
    found: list[tuple[str, Selector | None]] = [(f"{ROOT}.auth.jwt.serviceAccountRef", aws.service_account)]
    if (ref := aws.auth.secret_ref) is not None:
        found.append((f"{ROOT}.auth.secretRef.accessKeyIDSecretRef", ref.access_key_id))
        found.append((f"{ROOT}.auth.secretRef.secretAccessKeySecretRef", ref.secret_access_key))
        found.append((f"{ROOT}.auth.secretRef.sessionTokenSecretRef", ref.session_token))
    return found


def is_referent(spec: StoreSpec) -> bool:
    """Return whether any credential is resolved in the user's namespace."""
    try:
        return selectors.is_referent(spec, [selector for _, selector in _selectors(decode(spec))])
    except SpecError:
        return False  # it cannot be opened at all


def problems(spec: StoreSpec) -> list[SpecError]:
    """Return everything that is wrong with the block."""
    try:
        aws = decode(spec)
    except SpecError as error:
        return [error]
    found = selectors.check(spec, _selectors(aws))
    if aws.service == "CertificateManager":
        found.append(SpecError("CertificateManager is not built into fairlead yet", path=f"{ROOT}.service"))
    if not aws.region:
        found.append(SpecError("must not be empty", path=f"{ROOT}.region"))
    if (ref := aws.auth.secret_ref) is not None and not (ref.access_key_id.name and ref.secret_access_key.name):
        text = "expected accessKeyIDSecretRef and secretAccessKeySecretRef"
        found.append(SpecError(text, path=f"{ROOT}.auth.secretRef"))
    found += [
        SpecError("is set by the controller", path=f"{ROOT}.customSessionTags.{name}")
        for name in INJECTED_TAGS
        if name in aws.custom_session_tags
    ]
    return found
