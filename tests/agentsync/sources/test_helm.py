"""Helm with the real program: arguments, value files from everywhere, and what a chart cannot do (row 45)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fairlead.agentsync.sources import (
    HelmSettings,
    Limits,
    ProgramMissing,
    Reference,
    RenderError,
    RenderRequest,
    SourceError,
    ToolSettings,
    render,
)
from fairlead.agentsync.sources.helm import set_value
from fairlead.agentsync.spec import HelmFileParameter, HelmParameter, HelmSource, Source
from tests.agentsync.sources.conftest import MakeSources
from tests.agentsync.sources.repository import Repository

pytestmark = pytest.mark.real

CHART = "apiVersion: v2\nname: web\nversion: 1.0.0\n"
SHOWN = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
  namespace: {{ .Release.Namespace }}
data:
  values: {{ .Values | toJson | quote }}
  kube: {{ .Capabilities.KubeVersion.Version | quote }}
  gateway: {{ .Capabilities.APIVersions.Has "gateway.networking.k8s.io/v1/HTTPRoute" | quote }}
  lookup: {{ lookup "v1" "Secret" "kube-system" "" | toJson | quote }}
"""
FILES = {
    "charts/web/Chart.yaml": CHART,
    "charts/web/values.yaml": "from: chart\n",
    "charts/web/live.yaml": "from: live\n",
    "charts/web/templates/shown.yaml": SHOWN,
    "charts/web/templates/tests/test.yaml": (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: test, annotations: {helm.sh/hook: test}}\n"
    ),
    "charts/web/crds/crd.yaml": (
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.b}\n"
    ),
    "env/live.yaml": "from: env\n",
    "env/more/a.yaml": "a: 1\n",
    "env/more/b.yaml": "b: 2\n",
    "env/file.txt": "hello, world",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name, content in FILES.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    return root


async def templated(root: Path, helm: Path, options: HelmSource | None = None, **more: Any) -> list[Any]:
    settings = ToolSettings(helm=HelmSettings(program=str(helm)))
    return list(
        await render(root, Source(path="charts/web", helm=options), application="shop", settings=settings, **more)
    )


async def shown(root: Path, helm: Path, options: HelmSource | None = None, **more: Any) -> dict[str, Any]:
    """Return what the chart saw."""
    found = await templated(root, helm, options, **more)
    (config_map,) = [each for each in found if each["kind"] == "ConfigMap"]
    return {
        "name": config_map["metadata"]["name"],
        "namespace": config_map["metadata"].get("namespace"),
        **config_map["data"],
        "values": json.loads(config_map["data"]["values"]),
    }


async def test_defaults(tree: Path, helm: Path) -> None:
    found = await shown(tree, helm, namespace="shop", kube_version="1.31.2")
    assert found["name"] == "shop"
    assert found["namespace"] == "shop"
    assert found["values"] == {"from": "chart"}
    assert found["kube"] == "v1.31.2"
    assert found["gateway"] == "false"


async def test_lookup_finds_nothing(tree: Path, helm: Path) -> None:
    assert (await shown(tree, helm))["lookup"] == "{}"


@pytest.mark.parametrize(
    ("options", "key", "wanted"),
    [
        pytest.param(HelmSource(release_name="other"), "name", "other", id="release-name"),
        pytest.param(HelmSource(namespace="own"), "namespace", "own", id="namespace"),
        pytest.param(HelmSource(kube_version="1.29.0"), "kube", "v1.29.0", id="kube-version"),
        pytest.param(
            HelmSource(api_versions=("gateway.networking.k8s.io/v1/HTTPRoute",)), "gateway", "true", id="api-versions"
        ),
        pytest.param(HelmSource(value_files=("live.yaml",)), "values", {"from": "live"}, id="value-file"),
        pytest.param(
            HelmSource(value_files=("live.yaml", "/env/live.yaml")), "values", {"from": "env"}, id="from-the-root"
        ),
        pytest.param(HelmSource(value_files=("../../env/live.yaml",)), "values", {"from": "env"}, id="beside"),
        pytest.param(
            HelmSource(value_files=("/env/more/*.yaml",)), "values", {"from": "chart", "a": 1, "b": 2}, id="glob"
        ),
        pytest.param(
            HelmSource(value_files=("$ARGOCD_APP_NAME/x.yaml", "live.yaml"), ignore_missing_value_files=True),
            "values",
            {"from": "live"},
            id="missing-and-variable",
        ),
        pytest.param(
            HelmSource(value_files=("live.yaml",), values="from: values\nx: 1"),
            "values",
            {"from": "values", "x": 1},
            id="values-after-files",
        ),
        pytest.param(
            HelmSource(values="from: values", values_object={"from": "object", "big": 2**53}),
            "values",
            {"from": "object", "big": 2**53},
            id="object-wins",
        ),
        pytest.param(
            HelmSource(
                values="from: values",
                parameters=(
                    HelmParameter(name="from", value="a,b"),
                    HelmParameter(name="number", value="5"),
                    HelmParameter(name="text", value="5", force_string=True),
                    HelmParameter(name="list", value="{a,b}"),
                    HelmParameter(name="revision", value="$ARGOCD_APP_NAME"),
                ),
            ),
            "values",
            {"from": "a,b", "number": 5, "text": "5", "list": ["a", "b"], "revision": "shop"},
            id="parameters",
        ),
        pytest.param(
            HelmSource(file_parameters=(HelmFileParameter(name="file", path="/env/file.txt"),)),
            "values",
            {"from": "chart", "file": "hello, world"},
            id="file-parameters",
        ),
    ],
)
async def test_options(options: HelmSource, key: str, wanted: Any, tree: Path, helm: Path) -> None:
    assert (await shown(tree, helm, options))[key] == wanted


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        pytest.param(HelmSource(), {"ConfigMap", "CustomResourceDefinition", "Pod"}, id="all"),
        pytest.param(HelmSource(skip_crds=True), {"ConfigMap", "Pod"}, id="without-crds"),
        pytest.param(HelmSource(skip_tests=True), {"ConfigMap", "CustomResourceDefinition"}, id="without-tests"),
    ],
)
async def test_what_comes_out(options: HelmSource, kinds: set[str], tree: Path, helm: Path) -> None:
    assert {each["kind"] for each in await templated(tree, helm, options)} == kinds


async def test_a_schema_is_checked_unless_that_is_off(tree: Path, helm: Path) -> None:
    (tree / "charts/web/values.schema.json").write_text('{"properties": {"from": {"type": "integer"}}}')
    with pytest.raises(RenderError, match=r"values don't meet the specifications of the schema"):
        await templated(tree, helm)
    assert await templated(tree, helm, HelmSource(skip_schema_validation=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            HelmSource(value_files=("absent.yaml",)), r"helm\.valueFiles\[0\]: absent\.yaml does not exist", id="absent"
        ),
        pytest.param(HelmSource(value_files=("../../../x",)), "is outside of the repository", id="above-the-root"),
        pytest.param(HelmSource(value_files=("/../x",)), "is outside of the repository", id="above-from-the-root"),
        pytest.param(HelmSource(value_files=("/env/none/*",)), "matches no file", id="glob-of-nothing"),
        pytest.param(HelmSource(value_files=("../../../*",)), "is outside of the repository", id="glob-above"),
        pytest.param(HelmSource(value_files=("file:///etc/passwd",)), "the URL scheme 'file' is not allowed", id="url"),
        pytest.param(
            HelmSource(file_parameters=(HelmFileParameter(name="a", path="/etc/passwd"),)),
            r"helm\.fileParameters\[0\]\.path: /etc/passwd does not exist",
            id="file-of-the-machine",
        ),
        pytest.param(HelmSource(values="a: ["), r"helm template charts/web failed: .*yaml", id="values-are-no-yaml"),
        pytest.param(HelmSource(version="v2"), "only v3 is supported", id="version"),
        pytest.param(HelmSource(release_name="x" * 60), r"charts/web failed: .*53", id="release-name"),
    ],
)
async def test_what_is_refused(options: HelmSource, message: str, tree: Path, helm: Path) -> None:
    with pytest.raises(SourceError, match=message) as error:
        await templated(tree, helm, options)
    assert "/tmp/" not in str(error.value)


async def test_row_40_a_value_file_that_is_a_link_out_is_refused(tree: Path, helm: Path) -> None:
    (tree / "env/out.yaml").symlink_to("/etc/passwd")
    with pytest.raises(RenderError, match="out-of-bounds symlinks"):
        await templated(tree, helm, HelmSource(value_files=("/env/out.yaml",)))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        pytest.param(
            '{{ define "x" }}{{ include "x" . }}{{ end }}{{ include "x" . }}', "nested|stack|depth", id="recursion"
        ),
        pytest.param("{{ fail `on purpose` }}", "on purpose", id="fail"),
        pytest.param("{{ env `HOME` }}", 'function "env" not defined', id="environment"),
        pytest.param("a: [", "YAML parse error|line", id="no-yaml"),
        pytest.param("{{ .Files.Get `../../../../etc/passwd` | required `nothing` }}", "nothing", id="file"),
    ],
)
async def test_row_45_templates(template: str, message: str, tree: Path, helm: Path) -> None:
    (tree / "charts/web/templates/bad.yaml").write_text(template)
    with pytest.raises(RenderError, match=rf"helm template charts/web(?: failed)?: .*(?:{message})"):
        await templated(tree, helm)


async def test_the_last_of_equal_keys_counts_as_for_helm(tree: Path, helm: Path) -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {a: b}, labels: {c: d}}\n"
    (tree / "charts/web/templates/twice.yaml").write_text(text)
    (found,) = [each for each in await templated(tree, helm) if each["kind"] == "Service"]
    assert found["metadata"]["labels"] == {"c": "d"}


async def test_row_45_a_template_that_asks_for_the_moon(tree: Path, helm: Path) -> None:
    (tree / "charts/web/templates/bad.yaml").write_text("{{ range until 2000000000 }}{{ end }}")
    settings = ToolSettings(helm=HelmSettings(program=str(helm), limits=Limits(memory_bytes=400_000_000)))
    with pytest.raises(RenderError, match=r"helm template charts/web failed: .*(out of memory|cannot allocate memory)"):
        await render(tree, Source(path="charts/web"), settings=settings)


async def test_without_helm_the_error_says_so(tree: Path) -> None:
    with pytest.raises(ProgramMissing, match="Helm sources cannot be rendered: the program 'no-helm'"):
        await templated(tree, Path("no-helm"))


async def test_too_much_output_is_stopped(tree: Path, helm: Path) -> None:
    text = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: big}\ndata:\n  a: {{ repeat 2000000 "x" }}\n'
    (tree / "charts/web/templates/big.yaml").write_text(text)
    settings = ToolSettings(helm=HelmSettings(program=str(helm), limits=Limits(output_bytes=1_000_000)))
    with pytest.raises(SourceError, match="wrote more than 1000000 bytes"):
        await render(tree, Source(path="charts/web"), settings=settings)


# -- dependencies ------------------------------------------------------------------------------------------------------


async def test_a_chart_beside_it_is_a_dependency(tree: Path, helm: Path) -> None:
    (tree / "charts/web/Chart.yaml").write_text(
        CHART + "dependencies:\n- {name: base, version: 1.0.0, repository: 'file://../base'}\n"
    )
    base = tree / "charts/base"
    (base / "templates").mkdir(parents=True)
    (base / "Chart.yaml").write_text("apiVersion: v2\nname: base\nversion: 1.0.0\n")
    (base / "templates/a.yaml").write_text("apiVersion: v1\nkind: Secret\nmetadata: {name: base}\n")
    assert "Secret" in {each["kind"] for each in await templated(tree, helm)}
    assert not (tree / "charts/web/charts").exists()  # T33


async def test_offline_a_chart_from_elsewhere_is_refused(tree: Path, helm: Path) -> None:
    (tree / "charts/web/Chart.yaml").write_text(
        CHART + "dependencies:\n- {name: base, version: 1.0.0, repository: 'https://127.0.0.1:9/charts'}\n"
    )
    with pytest.raises(RenderError, match="rendering a directory fetches nothing"):
        await templated(tree, helm)


# -- several sources ---------------------------------------------------------------------------------------------------


async def test_value_files_of_another_source(
    repository: Repository, tmp_path: Path, make_sources: MakeSources, helm: Path
) -> None:
    repository.commit(FILES)
    values = Repository(tmp_path / "repositories" / "values")
    first = values.commit({"live/web.yaml": "from: elsewhere\n", "live/more/x.yaml": "x: 1\n"})
    sources = make_sources(tools=ToolSettings(helm=HelmSettings(program=str(helm))))
    lender = Source(repo_url=values.url, ref="values", target_revision="main")
    source = Source(
        repo_url=repository.url,
        path="charts/web",
        helm=HelmSource(
            value_files=("$values/live/web.yaml", "$values/live/more/*.yaml"),
            file_parameters=(HelmFileParameter(name="file", path="$values/live/more/x.yaml"),),
        ),
    )

    async def seen(revision: str) -> Any:
        resolved = await sources.resolve(source, project="default")
        request = RenderRequest(
            application="shop",
            source=source,
            revision=resolved.revision,
            references=(Reference(source=lender, revision=revision),),
        )
        (found,) = [each for each in (await sources.render(request)).objects if each["kind"] == "ConfigMap"]
        return json.loads(found["data"]["values"])

    assert await seen(first) == {"from": "elsewhere", "x": 1, "file": "x: 1\n"}
    second = values.commit({"live/web.yaml": "from: later\n"})
    assert (await seen(first))["from"] == "elsewhere"  # at that source's revision, whatever its branch says
    assert (await seen(second))["from"] == "later"


async def test_t33_renders_of_one_repository_do_not_mix(
    repository: Repository, make_sources: MakeSources, helm: Path
) -> None:
    repository.commit(FILES)
    sources = make_sources(tools=ToolSettings(helm=HelmSettings(program=str(helm))))

    async def name(application: str) -> str:
        source = Source(repo_url=repository.url, path="charts/web", helm=HelmSource(values=f"from: {application}"))
        resolved = await sources.resolve(source, project="default")
        request = RenderRequest(application=application, source=source, revision=resolved.revision)
        (found,) = [each for each in (await sources.render(request)).objects if each["kind"] == "ConfigMap"]
        assert json.loads(found["data"]["values"]) == {"from": application}
        return str(found["metadata"]["name"])

    wanted = [f"app-{n}" for n in range(6)]
    assert await asyncio.gather(*(name(each) for each in wanted)) == wanted


def test_commas_part_lists_only() -> None:
    assert set_value("a,b") == r"a\,b"
    assert set_value(r"a\,b,c") == r"a\,b\,c"
    assert set_value(",a") == r"\,a"
    assert set_value("{a,b}") == "{a,b}"
