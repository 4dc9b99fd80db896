"""What the package offers, and what it costs to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fairlead.secrets
from fairlead.secrets import RemoteRef, SecretBytes, open_store, render

HEAVY = ("asyncio", "boto3", "botocore", "hvac", "kubernetes_asyncio", "requests", "yaml")


def test_every_public_name_is_there() -> None:
    assert sorted(fairlead.secrets.__all__) == fairlead.secrets.__all__
    for name in fairlead.secrets.__all__:
        assert getattr(fairlead.secrets, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'surprise'"):
        _ = fairlead.secrets.surprise


def test_the_machine_is_light_to_import() -> None:
    program = f"import sys, fairlead.secrets; print([name for name in {HEAVY!r} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_reconcilers_need_no_library_of_a_provider() -> None:
    program = (
        "import sys, fairlead.secrets.reconciler, fairlead.secrets.store_reconciler; "
        "print([name for name in ('boto3', 'botocore', 'hvac', 'kubernetes_asyncio') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


async def test_the_example_of_the_package() -> None:
    manifest = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {"name": "store", "namespace": "shop"},
        "spec": {"provider": {"fake": {"data": [{"key": "team/db", "value": '{"password":"s3cr3t"}'}]}}},
    }
    async with open_store(manifest) as store:
        value = await store.get(RemoteRef(key="team/db", property="password"))
    assert value == SecretBytes(b"s3cr3t")
    assert render("{{ .user }}:{{ .password }}", {"user": b"alice", "password": value.reveal()}) == b"alice:s3cr3t"
