"""Plain manifests: which files count, in which order, and what a bad one does (gitops 3.1; bad inputs, rows 41, 44)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fairlead.agentsync.sources import DirectoryLimits, RenderError, SourceError
from fairlead.agentsync.sources._tree import FolderTree, TreeLimits
from fairlead.agentsync.sources._yaml import YamlLimits
from fairlead.agentsync.sources.directory import ParsedFiles, render_directory
from fairlead.agentsync.spec import DirectorySource
from tests.agentsync.sources.folders import MemoryTree, folder


def config(name: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n"


async def names(files: dict[str, str], options: DirectorySource | None = None, **more: Any) -> list[str]:
    found = await render_directory(MemoryTree(files), ".", options, **more)
    return [each["metadata"]["name"] for each in found.objects]


FILES = {
    "b.yaml": config("b"),
    "a.yml": config("a"),
    "c.json": '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}',
    "d.txt": config("d"),
    "sub/e.yaml": config("e"),
    "sub.yaml": config("sub"),
    "sub/deep/f.yaml": config("f"),
}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        pytest.param(None, ["a", "b", "c", "sub"], id="by-default"),
        # Directories stand among files by name, as they are walked.
        pytest.param(DirectorySource(recurse=True), ["a", "b", "c", "f", "e", "sub"], id="recurse"),
        pytest.param(DirectorySource(recurse=True, include="sub/*"), ["f", "e"], id="star-crosses-slashes"),
        pytest.param(DirectorySource(include="{a,b}.*"), ["a", "b"], id="alternatives"),
        pytest.param(DirectorySource(exclude="{a,b}.*"), ["c", "sub"], id="exclude"),
        pytest.param(DirectorySource(include="a*", exclude="*.yml"), [], id="exclude-first"),
        pytest.param(DirectorySource(disable_extension_filter=True), ["a", "b", "c", "d", "sub"], id="any-extension"),
    ],
)
async def test_which_files_count(options: DirectorySource | None, wanted: list[str]) -> None:
    assert await names(FILES, options) == wanted


async def test_documents_lists_and_comments() -> None:
    text = (
        "# nothing\n---\n" + config("a") + "---\n---\n"
        "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n"
        "- {apiVersion: v1, kind: ConfigMapList, items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}]}\n"
        "---\napiVersion: v1\nkind: List\nitems: null\n"
    )
    assert await names({"a.yaml": text}) == ["a", "b", "c"]


async def test_row_44_lists_without_end_are_refused() -> None:
    text = "{kind: List, items: [" * 40 + "]}" * 40
    with pytest.raises(RenderError, match=r"^a\.yaml: lists of lists, more than 16 deep$"):
        await names({"a.yaml": text})


async def test_row_44_the_same_object_twice_is_left_to_the_caller() -> None:
    assert await names({"a.yaml": config("a"), "b.yaml": config("a")}) == ["a", "a"]


async def test_row_44_a_directory_without_manifests_yields_nothing_and_says_why() -> None:
    found = await render_directory(MemoryTree({"values.yaml": "a: 1\n"}), ".")
    assert found.objects == ()
    assert found.warnings == ("values.yaml is no manifest and is ignored: Object 'Kind' is missing in document 1",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(config("a") + "---\nb: [\n", r'^Failed to unmarshal "x\.yaml": line', id="good-before-the-fault"),
        pytest.param("apiVersion: v1\nkind: X\nmetadata: {\n", r'^Failed to unmarshal "x\.yaml"', id="looks-like-one"),
        pytest.param(config("a") + "a: 1\na: 2\n", "key 'a' is there twice", id="duplicate-key"),
        pytest.param(config("a") + "---\n- 1\n", "document 2 is no map", id="list-of-numbers"),
        pytest.param(config("a") + "---\na: 1\n", "Object 'Kind' is missing in document 2", id="second-without-kind"),
        pytest.param("kind: List\nitems: [1]\n", r"^x\.yaml: an item of a List is no object$", id="list-items"),
    ],
)
async def test_a_file_that_is_meant_as_a_manifest_must_be_one(text: str, message: str) -> None:
    with pytest.raises(RenderError, match=message):
        await names({"x.yaml": text})


@pytest.mark.parametrize("text", ["{{ .Values.a }}\nb: [\n", "just text: [", "- 1\n- 2\n", "a: !Ref b\n"])
async def test_other_files_are_ignored(text: str) -> None:
    assert await names({"x.yaml": text, "a.yaml": config("a")}) == ["a"]


async def test_a_file_can_ask_to_be_skipped() -> None:
    assert await names({"x.yaml": "# +argocd:skip-file-rendering\nkind: [\n", "a.yaml": config("a")}) == ["a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"kind": "A", "metadata": {}} {"kind": "B"}',
            r'^Found multiple objects in "x\.json"\. Only single objects are allowed in JSON files\.$',
        ),
        ("{", r'^Failed to unmarshal "x\.json": line 1: '),
        ("[]", r"Object 'Kind' is missing"),
        ('{"kind": "A", "a": NaN}', "NaN is no number of JSON"),
        ('{"kind": "A", "a": ' + "[" * 100_000, "nested too deeply"),
        ('{"kind": "A", "a": ' + "[" * 300 + "]" * 300 + "}", "nested too deeply"),
    ],
)
async def test_json_files_hold_one_object(text: str, message: str) -> None:
    with pytest.raises(RenderError, match=message):
        await names({"x.json": text})


async def test_jsonnet_is_refused_clearly() -> None:
    with pytest.raises(RenderError, match=r"^x\.jsonnet: Jsonnet is not supported"):
        await names({"x.jsonnet": "{}"})
    assert await names({"x.jsonnet": "{}", "a.yaml": config("a")}, DirectorySource(exclude="*.jsonnet")) == ["a"]


async def test_row_41_files_together_are_bounded() -> None:
    files = {f"{n}.yaml": config("a") + "#" * 1000 for n in range(20)}
    with pytest.raises(SourceError, match=r"^exceeded max combined manifest file size: \d+ bytes, at most 10000$"):
        await names(files, limits=DirectoryLimits(files_bytes=10_000))


async def test_row_41_objects_are_bounded() -> None:
    text = "kind: List\nitems:\n" + "- {kind: A, metadata: {name: a}}\n" * 101
    with pytest.raises(SourceError, match="more than 100 objects"):
        await names({"a.yaml": text}, limits=DirectoryLimits(objects=100))


async def test_row_41_an_alias_bomb_is_an_error_of_its_file() -> None:
    lines = [config("a"), "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    limits = DirectoryLimits(yaml=YamlLimits(values=10_000))
    with pytest.raises(RenderError, match=r'^Failed to unmarshal "bomb\.yaml": more than 10000 values'):
        await names({"bomb.yaml": "\n".join(lines)}, limits=limits)


async def test_row_41_a_hundred_megabytes_are_not_read(tmp_path: Path) -> None:
    root = folder(tmp_path / "tree", {"a.yaml": config("a")})
    with (root / "big.yaml").open("wb") as file:
        file.truncate(100 * 1024 * 1024)
    with pytest.raises(SourceError, match="exceeded max combined manifest file size"):
        await render_directory(FolderTree(root), ".")


async def test_row_41_a_million_files_are_not_listed(tmp_path: Path) -> None:
    root = folder(tmp_path / "tree", {f"{n}.yaml": "" for n in range(60)})
    with pytest.raises(SourceError, match="more than 50 files below the root"):
        await render_directory(FolderTree(root, TreeLimits(files=50)), ".")


async def test_links_are_followed_inside_the_tree() -> None:
    files = {"base/a.yaml": config("a"), "app/link.yaml": "-> ../base/a.yaml", "app/none.yaml": "-> nothing"}
    found = await render_directory(MemoryTree(files), "app")
    assert [each["metadata"]["name"] for each in found.objects] == ["a"]
    assert found.warnings == ("app/none.yaml is a broken link: it is skipped",)


async def test_parsed_files_are_read_once_and_never_shared() -> None:
    tree, parsed = MemoryTree(FILES), ParsedFiles()
    one = await render_directory(tree, ".", parsed=parsed)
    reads = len(tree.reads)
    other = await render_directory(tree, ".", parsed=parsed)
    assert one == other and len(tree.reads) == reads == 4
    one.objects[0]["metadata"]["name"] = "changed"
    assert (await render_directory(tree, ".", parsed=parsed)).objects[0]["metadata"]["name"] == "a"


async def test_parsed_files_are_bounded() -> None:
    tree, parsed = MemoryTree(FILES), ParsedFiles(bytes_max=400)
    for _ in range(2):
        assert await names(FILES, parsed=parsed) == ["a", "b", "c", "sub"]
    assert sum(len(each) for each in parsed._kept.values()) <= 400
    assert tree.reads == []


async def test_files_on_disk_are_read_anew(tmp_path: Path) -> None:
    root, parsed = folder(tmp_path / "tree", {"a.yaml": config("a")}), ParsedFiles()
    assert (await render_directory(FolderTree(root), ".", parsed=parsed)).objects[0]["metadata"]["name"] == "a"
    folder(root, {"a.yaml": config("b")})
    assert (await render_directory(FolderTree(root), ".", parsed=parsed)).objects[0]["metadata"]["name"] == "b"


@pytest.mark.parametrize(
    ("field", "options"), [("include", DirectorySource(include="{a")), ("exclude", DirectorySource(exclude="{a"))]
)
async def test_a_glob_that_is_none_is_an_error_and_no_filter(field: str, options: DirectorySource) -> None:
    with pytest.raises(SourceError, match=rf"^directory\.{field}: '\{{a' is no glob$"):
        await names(FILES, options)


async def test_half_a_surrogate_pair_can_be_stored() -> None:
    tree = MemoryTree({"a.json": '{"kind": "A", "metadata": {"name": "\\ud800x"}, "smile": "\\ud83d\\ude00"}'})
    (found,) = (await render_directory(tree, ".")).objects
    assert found == {"kind": "A", "metadata": {"name": "?x"}, "smile": "\U0001f600"}


async def test_names_that_are_no_text_can_be_told() -> None:
    name = b"\xff.yaml".decode("utf-8", "surrogateescape")
    with pytest.raises(RenderError) as error:
        await names({name: "kind: A\n---\n["})
    assert str(error.value).startswith('Failed to unmarshal "?.yaml"')
