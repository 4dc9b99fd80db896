"""The `vault` block of a store's spec as typed values, and what can be wrong with it.

Source: `external-secrets: apis/externalsecrets/v1/secretstore_vault_types.go`, `providers/v1/vault/validate.go`.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from fairlead.core.decoding import Decoder, Int64, Wire
from fairlead.core.errors import SpecError
from fairlead.secrets.stores import _selectors as selectors
from fairlead.secrets.stores._selectors import CAProvider, SecretKeySelector, Selector, ServiceAccountSelector
from fairlead.secrets.stores.port import StoreSpec

ROOT: Final = "spec.provider.vault"


class AppRole(Wire, frozen=True, kw_only=True):
    path: str = "approle"
    role_id: str = ""
    role_ref: SecretKeySelector | None = None
    secret_ref: SecretKeySelector


class KubernetesAuth(Wire, frozen=True, kw_only=True):
    mount_path: str = "kubernetes"
    role: str = ""
    service_account_ref: ServiceAccountSelector | None = None
    secret_ref: SecretKeySelector | None = None


class Ldap(Wire, frozen=True, kw_only=True):
    path: str = "ldap"
    username: str = ""
    secret_ref: SecretKeySelector = SecretKeySelector()


class UserPass(Wire, frozen=True, kw_only=True):
    path: str = "userpass"
    username: str = ""
    secret_ref: SecretKeySelector = SecretKeySelector()


class ServiceAccountToken(Wire, frozen=True, kw_only=True):
    service_account_ref: ServiceAccountSelector
    audiences: tuple[str, ...] | None = None
    expiration_seconds: Int64 | None = None


class Jwt(Wire, frozen=True, kw_only=True):
    path: str = "jwt"
    role: str = ""
    secret_ref: SecretKeySelector | None = None
    kubernetes_service_account_token: ServiceAccountToken | None = None


class Cert(Wire, frozen=True, kw_only=True):
    path: str = "cert"
    vault_role: str = ""
    client_cert: SecretKeySelector = SecretKeySelector()
    secret_ref: SecretKeySelector = SecretKeySelector()


class Auth(Wire, frozen=True, kw_only=True):
    """How to sign in; the first that is given is used, in the order of these fields."""

    namespace: str | None = None
    token_secret_ref: SecretKeySelector | None = None
    app_role: AppRole | None = None
    kubernetes: KubernetesAuth | None = None
    ldap: Ldap | None = None
    user_pass: UserPass | None = None
    jwt: Jwt | None = None
    cert: Cert | None = None
    iam: dict[str, Any] | None = None
    gcp: dict[str, Any] | None = None


class Tls(Wire, frozen=True, kw_only=True):
    """A client certificate, whatever the way to sign in."""

    cert_secret_ref: SecretKeySelector | None = None
    key_secret_ref: SecretKeySelector | None = None


class CheckAndSet(Wire, frozen=True, kw_only=True):
    required: bool = False


class Vault(Wire, frozen=True, kw_only=True):
    server: str
    path: str | None = None
    version: Literal["v1", "v2"] = "v2"
    namespace: str | None = None
    auth: Auth | None = None
    ca_bundle: str = ""
    ca_provider: CAProvider | None = None
    tls: Tls = Tls()
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    read_your_writes: bool = False
    forward_inconsistent: bool = False
    check_and_set: CheckAndSet = CheckAndSet()

    def __repr__(self) -> str:  # headers may carry what is meant for the server only
        return f"Vault(server={self.server!r}, path={self.path!r}, version={self.version!r})"

    @property
    def mount(self) -> str:
        return self.path or ""

    @property
    def is_v2(self) -> bool:
        return self.version == "v2"


_decoder: Final = Decoder(Vault, root=ROOT)


def decode(spec: StoreSpec) -> Vault:
    """Return the block. Raises: SpecError."""
    return _decoder.decode(spec.block)


def _selectors(vault: Vault) -> list[tuple[str, Selector | None]]:
    found: list[tuple[str, Selector | None]] = [
        ("tls.certSecretRef", vault.tls.cert_secret_ref),
        ("tls.keySecretRef", vault.tls.key_secret_ref),
    ]
    auth = vault.auth or Auth()
    found.append(("auth.tokenSecretRef", auth.token_secret_ref))
    if auth.app_role is not None:
        found.append(("auth.appRole.secretRef", auth.app_role.secret_ref))
        found.append(("auth.appRole.roleRef", auth.app_role.role_ref))
    if auth.kubernetes is not None:
        found.append(("auth.kubernetes.serviceAccountRef", auth.kubernetes.service_account_ref))
        found.append(("auth.kubernetes.secretRef", auth.kubernetes.secret_ref))
    if auth.ldap is not None:
        found.append(("auth.ldap.secretRef", auth.ldap.secret_ref))
    if auth.user_pass is not None:
        found.append(("auth.userPass.secretRef", auth.user_pass.secret_ref))
    if auth.jwt is not None:
        found.append(("auth.jwt.secretRef", auth.jwt.secret_ref))
        if (token := auth.jwt.kubernetes_service_account_token) is not None:
            found.append(("auth.jwt.kubernetesServiceAccountToken.serviceAccountRef", token.service_account_ref))
    if auth.cert is not None:
        found.append(("auth.cert.clientCert", auth.cert.client_cert))
        found.append(("auth.cert.secretRef", auth.cert.secret_ref))
    return [(f"{ROOT}.{path}", selector) for path, selector in found]


def is_referent(spec: StoreSpec) -> bool:
    """Return whether any credential is resolved in the user's namespace."""
    try:
        return selectors.is_referent(spec, [selector for _, selector in _selectors(decode(spec))])
    except SpecError:
        return False  # it cannot be opened at all


def problems(spec: StoreSpec) -> list[SpecError]:
    """Return everything that is wrong with the block."""
    try:
        vault = decode(spec)
    except SpecError as error:
        return [error]
    auth = vault.auth or Auth()
    found = selectors.check(spec, _selectors(vault))
    found += selectors.check_ca(spec, vault.ca_provider, path=f"{ROOT}.caProvider")
    if not vault.server.lower().startswith(("http://", "https://")):
        found.append(SpecError("expected a URL that begins with https:// or http://", path=f"{ROOT}.server"))
    if vault.ca_bundle:
        try:
            selectors.decode_bundle(vault.ca_bundle, path=f"{ROOT}.caBundle")
        except SpecError as error:
            found.append(error)
    if (vault.tls.cert_secret_ref is None) != (vault.tls.key_secret_ref is None):
        found.append(SpecError("expected certSecretRef and keySecretRef, or neither", path=f"{ROOT}.tls"))
    if vault.check_and_set.required and not vault.is_v2:
        found.append(SpecError("is supported with kv version v2 only", path=f"{ROOT}.checkAndSet.required"))
    if auth.app_role is not None and not auth.app_role.role_id and auth.app_role.role_ref is None:
        found.append(SpecError("neither `roleId` nor `roleRef` was supplied", path=f"{ROOT}.auth.appRole"))
    if auth.jwt is not None and auth.jwt.secret_ref is None and auth.jwt.kubernetes_service_account_token is None:
        text = "neither `secretRef` nor `kubernetesServiceAccountToken` was supplied"
        found.append(SpecError(text, path=f"{ROOT}.auth.jwt"))
    built = (auth.token_secret_ref, auth.app_role, auth.kubernetes, auth.ldap, auth.user_pass, auth.jwt, auth.cert)
    if all(way is None for way in built):
        for name, way in (("iam", auth.iam), ("gcp", auth.gcp)):
            if way is not None:
                found.append(SpecError("is not built into fairlead yet", path=f"{ROOT}.auth.{name}"))
    return found
