"""`fairlead secrets`: render templates offline, and look into a store."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairlead.cli._options import Connection, asynchronous, connection_options
from fairlead.core.errors import NotFound, SpecError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fairlead.secrets import Store

_STORES = ("SecretStore", "ClusterSecretStore")


@click.group("secrets")
def secrets_() -> None:
    """Render templates of external secrets offline, and look into their stores."""


@secrets_.command("render")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--values", "values_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML.")
@click.option("--value", "pairs", multiple=True, metavar="KEY=VALUE", help="One value; wins over the file's.")
def render(file: Path, values_file: Path | None, pairs: tuple[str, ...]) -> None:
    """Print what FILE makes of the values: an ExternalSecret's data, or a bare template's text. Nothing is asked."""
    from fairlead.cli.yaml import YamlError, dump
    from fairlead.secrets import TemplateError
    from fairlead.secrets import render as render_text
    from fairlead.secrets.rendering import render_external_secret

    text = file.read_bytes()
    try:
        values = _values(values_file, pairs)
        manifest = _external_secret(text)
        if manifest is None:
            sys.stdout.buffer.write(render_text(text, values, datetime.now(UTC)))
            sys.stdout.buffer.flush()
            return
        data = render_external_secret(manifest, values, datetime.now(UTC))
        shown = {key: value.reveal().decode("utf-8", "backslashreplace") for key, value in sorted(data.items())}
        click.echo(dump(shown), nl=False)
    except (SpecError, TemplateError, YamlError) as error:
        raise click.ClickException(str(error)) from error


def _external_secret(text: bytes) -> dict[str, Any] | None:
    """Return the ExternalSecret that a file holds; None: it is a bare template."""
    from fairlead.cli.yaml import YamlError, load_all

    try:
        documents = load_all(text)
    except YamlError:
        return None
    return next((one for one in documents if one.get("kind") == "ExternalSecret"), None)


def _values(file: Path | None, pairs: tuple[str, ...]) -> dict[str, bytes]:
    from fairlead.cli.yaml import load_all

    found: dict[str, Any] = {}
    if file is not None:
        for document in load_all(file.read_bytes()):
            found |= document
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise SpecError(f"expected KEY=VALUE, found {key!r}")
        found[key] = value
    if wrong := [key for key, value in found.items() if isinstance(value, dict | list)]:
        raise SpecError(f"expected a text, found a mapping or a list: {wrong[0]}")
    return {key: _text(value).encode() for key, value in found.items()}


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)


@secrets_.command("get")
@click.argument("store")
@click.argument("key")
@click.option("--property", "property_", default="", help="Of a secret that is a document.")
@click.option("--version", default="", help="Of the secret; default: the newest.")
@click.option("--show-metadata", is_flag=True, help="Print size and entries instead of the value.")
@click.option("--cluster-store", is_flag=True, help="STORE is a ClusterSecretStore.")
@connection_options
@asynchronous
async def get(
    store: str,
    key: str,
    property_: str,
    version: str,
    show_metadata: bool,
    cluster_store: bool,
    connection: Connection,
) -> None:
    """Read KEY of STORE: a SecretStore of the cluster, or a file with its manifest.

    The value goes to standard output as it is, so that it can be piped; --show-metadata never prints it.
    """
    from fairlead.secrets import RemoteRef

    ref = RemoteRef(key=key, property=property_, version=version)
    async with _opened(store, connection, is_cluster_wide=cluster_store) as opened:
        value = await opened.get(ref)
        if not show_metadata:
            sys.stdout.buffer.write(value.reveal())
            sys.stdout.buffer.flush()
            return
        click.echo(f"key:      {key}{f' ({property_})' if property_ else ''}")
        click.echo(f"version:  {version or 'newest'}")
        click.echo(f"bytes:    {len(value.reveal())}")
        click.echo(f"entries:  {', '.join(_entries(value.reveal())) or 'none: it is no document'}")


def _entries(value: bytes) -> list[str]:
    import msgspec

    try:
        document = msgspec.json.decode(value)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return []
    return sorted(document) if isinstance(document, dict) else []


@asynccontextmanager
async def _opened(store: str, connection: Connection, *, is_cluster_wide: bool) -> AsyncIterator[Store]:
    from fairlead.secrets import open_store

    if (manifest := _manifest_of_file(store)) is not None:
        async with open_store(manifest) as opened:
            yield opened
        return
    from fairlead.controller.remote_clusters import RemoteClusters
    from fairlead.core.kinds import carried
    from fairlead.core.objects import ObjectKey
    from fairlead.runtime.clock import SystemClock
    from fairlead.secrets.stores.cluster_credentials import ClusterCredentials
    from fairlead.secrets.stores.port import StoreContext

    kind = _STORES[is_cluster_wide]
    async with connection.open() as (cluster, namespace):
        described = carried("external-secrets.io", "v1", kind, f"{kind.lower()}s", namespaced=not is_cluster_wide)
        found = await cluster.get(described, ObjectKey("" if is_cluster_wide else namespace, store))
        context = StoreContext(
            clock=SystemClock(),
            credentials=ClusterCredentials(cluster),
            clusters=RemoteClusters(),
            namespace=namespace,
        )
        async with open_store(found.content, context) as opened:
            yield opened


def _manifest_of_file(store: str) -> Mapping[str, Any] | None:
    """Return the store that a file describes; None: there is no such file, so it is a name."""
    from fairlead.cli.yaml import YamlError, load_all

    path = Path(store)
    if not path.is_file():
        return None
    try:
        documents = load_all(path.read_bytes())
    except YamlError as error:
        raise SpecError(f"{path}: {error}") from error
    found = next((one for one in documents if one.get("kind") in _STORES), None)
    if found is None:
        raise NotFound(f"{path} holds no {' or '.join(_STORES)}")
    return found
