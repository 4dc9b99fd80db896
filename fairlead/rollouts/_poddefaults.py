"""What the API server fills in when it stores a pod template.

Only the defaults of templates; those of pods (`enableServiceLinks`, requests from limits, host ports) come later.

Source: k8s.io/kubernetes v1.36: pkg/apis/core/v1/defaults.go, zz_generated.defaults.go (SetObjectDefaults_PodTemplate).
"""

from __future__ import annotations

import re
from typing import Any

_FILE_MODE = {"defaultMode": 0o644}
_CONTAINER = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}

# By struct. Pointers count as absent only when they are; plain strings and numbers also when they are empty.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "PodSpec": {
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
    },
    "Container": _CONTAINER,
    "EphemeralContainer": _CONTAINER,
    "ContainerPort": {"protocol": "TCP"},
    "ObjectFieldSelector": {"apiVersion": "v1"},
    "FileKeySelector": {"optional": False},
    "Probe": {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
    "HTTPGetAction": {"path": "/", "scheme": "HTTP"},
    "GRPCAction": {"service": ""},
    "HostPathVolumeSource": {"type": ""},
    "SecretVolumeSource": _FILE_MODE,
    "ConfigMapVolumeSource": _FILE_MODE,
    "DownwardAPIVolumeSource": _FILE_MODE,
    "ProjectedVolumeSource": _FILE_MODE,
    "ServiceAccountTokenProjection": {"expirationSeconds": 3600},
    "ISCSIVolumeSource": {"iscsiInterface": "default"},
    "RBDVolumeSource": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "AzureDiskVolumeSource": {"cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": False, "kind": "Shared"},
    "ScaleIOVolumeSource": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
    "PersistentVolumeClaimSpec": {"volumeMode": "Filesystem"},
}


def apply_defaults(struct: str, fields: dict[str, Any]) -> None:
    """Fill in the defaults of one struct, whose own structs have theirs already.

    Args:
        struct: the name of the Go type.
        fields: its fields as JSON data, without empty ones; changed in place.
    """
    for name, value in _DEFAULTS.get(struct, {}).items():
        fields.setdefault(name, value)
    match struct:
        case "Container" | "EphemeralContainer":
            fields.setdefault("imagePullPolicy", pull_policy(fields.get("image", "")))
        case "ImageVolumeSource":
            fields.setdefault("pullPolicy", pull_policy(fields.get("reference", "")))
        case "Volume" if fields.keys() <= {"name"}:
            fields["emptyDir"] = {}


# The grammar of image references (distribution/reference). Sixty-four hexadecimal digits alone are an identifier.
_HOST_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?![0-9a-f]{{64}}$)(?:{_HOST}/)?{_PATH_PART}(?:/{_PATH_PART})*"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?P<digest>@[^@]+)?",
    re.ASCII,
)
_IMAGE_CHARACTERS_MAX = 1024


def pull_policy(image: str) -> str:
    """Return the default pull policy: Always for `latest`, named or implied; an unreadable name counts as tagged.

    >>> pull_policy("nginx"), pull_policy("nginx:1.29"), pull_policy("nginx@sha256:" + "0" * 64)
    ('Always', 'IfNotPresent', 'IfNotPresent')
    """
    matched = _IMAGE.fullmatch(image) if len(image) <= _IMAGE_CHARACTERS_MAX else None
    if matched is None or (matched["digest"] and not matched["tag"]):
        return "IfNotPresent"
    return "Always" if (matched["tag"] or "latest") == "latest" else "IfNotPresent"
