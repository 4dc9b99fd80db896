"""`fairlead manifests`."""

from __future__ import annotations

import click


@click.command("manifests")
@click.option("--image", required=True, help="A container image whose entry point is `fairlead`.")
@click.option("-n", "--namespace", default="fairlead", show_default=True, help="Where the controller runs.")
@click.option("--only", default="", metavar="NAMESPACE", help="The only namespace to work in; default: all.")
@click.option("--secrets/--no-secrets", default=True, show_default=True, help="Sync external secrets.")
@click.option("--replicas", type=click.IntRange(1, 10), default=1, show_default=True, help="One leads, others wait.")
@click.argument("arguments", nargs=-1)
def manifests_(image: str, namespace: str, only: str, secrets: bool, replicas: int, arguments: tuple[str, ...]) -> None:
    """Print account, rights and Deployment of the controller as YAML; ARGUMENTS are handed to `fairlead controller`.

    \b
    fairlead crds | kubectl apply --server-side -f -
    fairlead manifests --image registry.example/fairlead:1 -- --settle=5s | kubectl apply --server-side -f -
    """
    import yaml

    from fairlead.controller.manifests import Installation, Part, manifests

    parts = Part.ROLLOUTS | Part.SECRETS if secrets else Part.ROLLOUTS
    installation = Installation(
        image=image, namespace=namespace, only=only, parts=parts, replicas=replicas, arguments=arguments
    )
    click.echo(yaml.safe_dump_all(manifests(installation), sort_keys=False), nl=False)
