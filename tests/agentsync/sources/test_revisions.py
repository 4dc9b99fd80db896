"""What a targetRevision means: the seven steps in their order, and traps 20 and 21."""

from __future__ import annotations

import pytest

from fairlead.agentsync.sources._revisions import (
    Abbreviated,
    Found,
    greatest_tag,
    is_constraint,
    parse_refs,
    resolve_revision,
)
from fairlead.agentsync.sources.port import RepositoryError, SourceError

MAIN, DEV, V1, V12, TAG, RC, SHORT = ("a" * 40, "b" * 40, "c" * 40, "d" * 40, "e" * 40, "f" * 40, "1" * 40)

LISTING = f"""\
ref: refs/heads/main\tHEAD
{MAIN}\tHEAD
{DEV}\trefs/heads/dev
{SHORT}\trefs/heads/abcdef1
{MAIN}\trefs/heads/main
{RC}\trefs/pull/7/head
{DEV}\trefs/tags/app-1.0.0
{V1}\trefs/tags/app-1.1.0
{V1}\trefs/tags/v1.1.0
{TAG}\trefs/tags/v1.2.3
{V12}\trefs/tags/v1.2.3^{{}}
{RC}\trefs/tags/v1.3.0-rc.1
{RC}\trefs/tags/latest
"""
REFS = parse_refs(LISTING.encode())


def commit_of(revision: str, tag_prefix: str = "") -> str:
    found = resolve_revision(revision, REFS, tag_prefix=tag_prefix)
    assert isinstance(found, Found)
    return found.commit


@pytest.mark.parametrize(
    ("revision", "wanted"),
    [
        pytest.param("", MAIN, id="nothing-is-head"),
        pytest.param("HEAD", MAIN, id="head"),
        pytest.param("main", MAIN, id="branch"),
        pytest.param("refs/heads/dev", DEV, id="full-name"),
        pytest.param("pull/7/head", RC, id="other-namespace"),
        pytest.param("latest", RC, id="tag-that-is-no-version"),
        pytest.param("v1.2.3", V12, id="annotated-tag-is-its-commit"),
        pytest.param("1.2.x", V12, id="constraint"),
        pytest.param("^1", V12, id="caret"),
        pytest.param(">=1.0 <1.2", V1, id="two-bounds"),
        pytest.param("*", V12, id="any"),
        pytest.param(">=1.0.0-0", RC, id="pre-release-asked-for"),
        pytest.param("ABCDEF" + "0" * 34, "abcdef" + "0" * 34, id="whole-hash-is-not-checked"),
    ],
)
def test_revisions(revision: str, wanted: str) -> None:
    assert commit_of(revision) == wanted


def test_t20_a_version_is_a_literal_tag() -> None:
    with pytest.raises(RepositoryError, match=r"^unable to resolve '1\.2\.3' to a commit SHA$"):
        commit_of("1.2.3")  # only v1.2.3 is there
    assert commit_of("1.2.x") == V12


def test_t20_pre_releases_need_a_pre_release_in_the_constraint() -> None:
    with pytest.raises(RepositoryError):
        commit_of("1.3.x")
    assert commit_of("1.3.x-0") == RC


def test_t21_a_short_hash_that_is_a_branch_is_the_branch() -> None:
    assert commit_of("abcdef1") == SHORT
    assert resolve_revision("abcdef2", REFS) == Abbreviated(digits="abcdef2")


def test_t21_a_whole_hash_needs_no_server() -> None:
    assert resolve_revision("9" * 40, ()) == Found(commit="9" * 40)


def test_seven_digits_that_parse_as_a_version_are_a_hash_after_all() -> None:
    assert resolve_revision("1234567", REFS) == Abbreviated(digits="1234567")


def test_a_constraint_without_match_is_looked_for_as_a_name() -> None:
    with pytest.raises(RepositoryError, match=r"unable to resolve '>=9' to a commit SHA"):
        commit_of(">=9")


def test_a_tag_remembers_its_object_for_verification() -> None:
    found = resolve_revision("1.2.x", REFS)
    assert isinstance(found, Found) and found.ref is not None
    assert (found.commit, found.ref.tag) == (V12, TAG)


@pytest.mark.parametrize(
    ("revision", "wanted"),
    [
        pytest.param("1.0.0", DEV, id="pin"),
        pytest.param("1.x", V1, id="constraint"),
    ],
)
def test_a_tag_prefix_is_left_out_of_the_comparison(revision: str, wanted: str) -> None:
    assert commit_of(revision, tag_prefix="app-") == wanted


def test_with_a_tag_prefix_only_versions_count() -> None:
    with pytest.raises(SourceError, match="with tagPrefix it has to be a version or a constraint"):
        commit_of("main", tag_prefix="app-")


@pytest.mark.parametrize(
    "revision", ["-x", "--upload-pack=touch /tmp/x", "a\nb", "a\0b", "x" * 600], ids=lambda text: repr(text[:20])
)
def test_refs_that_could_be_options_are_refused(revision: str) -> None:
    with pytest.raises(SourceError, match="targetRevision"):
        resolve_revision(revision, REFS)


def test_an_empty_repository_has_no_head() -> None:
    with pytest.raises(RepositoryError, match="unable to resolve 'HEAD' to a commit SHA"):
        resolve_revision("", ())


def test_a_branch_is_no_constraint() -> None:
    assert not is_constraint("main")
    assert not is_constraint("v1.2.3")
    assert is_constraint("~1.4")


def test_the_greatest_is_by_version_and_not_by_text() -> None:
    assert greatest_tag("*", ["1.9.0", "1.10.0", "not-a-version"]) == "1.10.0"
    assert greatest_tag("2.x", ["1.9.0"]) is None
