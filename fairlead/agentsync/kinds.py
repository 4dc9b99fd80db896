"""The kinds of this package as the API server serves them, and the annotations and finalizers that have a meaning."""

from __future__ import annotations

from typing import Final

import msgspec

from fairlead.core.kinds import EMPTY
from fairlead.core.objects import Kind, ObjectMeta, struct_decoder

GROUP: Final = "argoproj.io"
VERSION: Final = "v1alpha1"
LOCAL_SERVER: Final = "https://kubernetes.default.svc"
LOCAL_NAME: Final = "in-cluster"

_PREFIX: Final = "argocd.argoproj.io/"

# On an Application.
REFRESH: Final = f"{_PREFIX}refresh"
REFRESH_TIMESTAMP: Final = f"{_PREFIX}refresh-timestamp"
SKIP_RECONCILE: Final = f"{_PREFIX}skip-reconcile"
MANIFEST_GENERATE_PATHS: Final = f"{_PREFIX}manifest-generate-paths"
MIGRATION_MANAGER: Final = f"{_PREFIX}client-side-apply-migration-manager"
DELETION_APPROVED: Final = f"{_PREFIX}deletion-approved"
COMPARE_OPTIONS: Final = f"{_PREFIX}compare-options"  # on resources too

# On what it manages.
SYNC_OPTIONS: Final = f"{_PREFIX}sync-options"
SYNC_WAVE: Final = f"{_PREFIX}sync-wave"
HOOK: Final = f"{_PREFIX}hook"
HOOK_DELETE_POLICY: Final = f"{_PREFIX}hook-delete-policy"
IGNORE_HEALTHCHECK: Final = f"{_PREFIX}ignore-healthcheck"
IGNORE_RESOURCE_UPDATES: Final = f"{_PREFIX}ignore-resource-updates"
TRACKING_ID: Final = f"{_PREFIX}tracking-id"
INSTALLATION_ID: Final = f"{_PREFIX}installation-id"
HELM_HOOK: Final = "helm.sh/hook"
HELM_HOOK_WEIGHT: Final = "helm.sh/hook-weight"
HELM_HOOK_DELETE_POLICY: Final = "helm.sh/hook-delete-policy"
HELM_RESOURCE_POLICY: Final = "helm.sh/resource-policy"

# Finalizers of an Application. The first three cascade; they differ in how objects are deleted.
CASCADE: Final = "resources-finalizer.argocd.argoproj.io"
CASCADE_FOREGROUND: Final = f"{CASCADE}/foreground"
CASCADE_BACKGROUND: Final = f"{CASCADE}/background"
PRE_DELETE: Final = "pre-delete-finalizer.argocd.argoproj.io"
PRE_DELETE_CLEANUP: Final = f"{PRE_DELETE}/cleanup"
POST_DELETE: Final = "post-delete-finalizer.argocd.argoproj.io"
POST_DELETE_CLEANUP: Final = f"{POST_DELETE}/cleanup"
FINALIZERS: Final = (
    PRE_DELETE,
    PRE_DELETE_CLEANUP,
    CASCADE,
    CASCADE_FOREGROUND,
    CASCADE_BACKGROUND,
    POST_DELETE,
    POST_DELETE_CLEANUP,
)
HOOK_FINALIZER: Final = f"{_PREFIX}hook-finalizer"  # of hooks

FIELD_MANAGER: Final = "argocd-controller"


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A value that is kept for long: its raw parts let go of the page or the line that they came with."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, msgspec.Raw):
                msgspec.structs.force_setattr(self, name, value.copy())


class Application(_Kept, frozen=True, kw_only=True):
    """An Application; its parts are parsed by `spec.py`, `operation.py` and `status.py`.

    Attributes:
        operation: no bytes, or `null`, when there is none.
    """

    metadata: ObjectMeta = ObjectMeta()
    spec: msgspec.Raw = EMPTY
    operation: msgspec.Raw = msgspec.Raw()
    status: msgspec.Raw = EMPTY

    @property
    def has_operation(self) -> bool:
        return bytes(self.operation) not in (b"", b"null")


class AppProject(_Kept, frozen=True, kw_only=True):
    """An AppProject; its spec is parsed by `project.py`."""

    metadata: ObjectMeta = ObjectMeta()
    spec: msgspec.Raw = EMPTY
    status: msgspec.Raw = EMPTY


APPLICATIONS = Kind(GROUP, VERSION, "Application", "applications", struct_decoder(Application))
APP_PROJECTS = Kind(GROUP, VERSION, "AppProject", "appprojects", struct_decoder(AppProject))
