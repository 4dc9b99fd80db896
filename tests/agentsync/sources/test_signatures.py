"""Signatures are checked before anything is read (invariant 54), with real keys."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fairlead.agentsync._rendering import For
from fairlead.agentsync._rendering import render as render_all
from fairlead.agentsync.actions import Render
from fairlead.agentsync.sources import (
    ProgramMissing,
    RenderRequest,
    SignatureError,
    Sources,
    Verification,
    VerificationMode,
)
from fairlead.agentsync.sources._store import Store
from fairlead.agentsync.sources.signatures import Signed, listed_keys, problem_of, read_status
from fairlead.agentsync.spec import HelmSource, Source
from tests.agentsync.sources.conftest import MakeSources, need
from tests.agentsync.sources.repository import Repository, config_map

GOOD = Signed(revision="r", state="G", key="A" * 16, fingerprints=("B" * 24 + "A" * 16, "C" * 40), author="Ada")


@pytest.mark.parametrize(
    ("signed", "keys", "problem"),
    [
        pytest.param(GOOD, {"A" * 16}, "", id="by-key"),
        pytest.param(GOOD, {"C" * 16}, "", id="by-primary-key"),
        pytest.param(GOOD, {"C" * 40}, "", id="by-fingerprint"),
        pytest.param(
            GOOD,
            {"D" * 16},
            f"Failed verifying revision r by 'Ada': signed with unallowed key (key_id={'A' * 16})",
            id="another-key",
        ),
        pytest.param(
            Signed(revision="r", state="N", key="", fingerprints=(), author="Ada"),
            {"A" * 16},
            "Failed verifying revision r by 'Ada': unsigned (key_id=)",
            id="unsigned",
        ),
        pytest.param(
            Signed(revision="r", state="R", key="A" * 16, fingerprints=(), author="Ada"),
            {"A" * 16},
            f"Failed verifying revision r by 'Ada': signed with revoked key (key_id={'A' * 16})",
            id="revoked",
        ),
    ],
)
def test_problems(signed: Signed, keys: set[str], problem: str) -> None:
    assert problem_of(signed, frozenset(keys)) == problem


@pytest.mark.parametrize("keys", [(), ("ABCD1234",), ("not a key",)], ids=["none", "too-short", "no-hex"])
def test_keys_that_prove_nothing_are_refused(keys: tuple[str, ...]) -> None:
    with pytest.raises(SignatureError):
        listed_keys(keys)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("", "N"),
        ("[GNUPG:] GOODSIG AAAA Ada\n[GNUPG:] VALIDSIG FF x x PP\n", "G"),
        ("[GNUPG:] GOODSIG AAAA Ada\n", "B"),
        ("[GNUPG:] BADSIG AAAA Ada\n[GNUPG:] GOODSIG AAAA Ada\n[GNUPG:] VALIDSIG FF x x PP\n", "B"),
        ("[GNUPG:] ERRSIG AAAA 1 2 00 0 9\n[GNUPG:] NO_PUBKEY AAAA\n", "E"),
        ("[GNUPG:] EXPKEYSIG AAAA Ada\n[GNUPG:] VALIDSIG FF x x PP\n", "Y"),
        ("[GNUPG:] REVKEYSIG AAAA Ada\n[GNUPG:] VALIDSIG FF x x PP\n", "R"),
        ("GOODSIG AAAA Ada\nVALIDSIG FF\n", "N"),
        ("[GNUPG:] GOODSIG A a\n[GNUPG:] VALIDSIG F\n[GNUPG:] GOODSIG B b\n[GNUPG:] VALIDSIG G\n", "B"),
    ],
)
def test_only_exactly_one_good_signature_counts(status: str, state: str) -> None:
    assert read_status("tag", status).state == state


# -- with gpg ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Keys:
    """A home of gpg with two secret keys."""

    home: Path
    listed: str
    other: str
    armoured: dict[str, str]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    need("git", "gpg")
    home = tmp_path_factory.mktemp("g")
    home.chmod(0o700)

    def gpg(*arguments: str) -> str:
        return subprocess.run(
            ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode=loopback", "--passphrase", "", *arguments],
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    found: dict[str, str] = {}
    for name in ("listed", "other"):
        gpg("--quick-gen-key", f"{name} <{name}@example.org>", "ed25519", "sign", "never")
        match = re.search(r"^fpr:+([0-9A-F]{40}):", gpg("--with-colons", "--list-keys", name), re.M)
        assert match is not None
        found[name] = match[1][-16:]
    armoured = {key: gpg("--armor", "--export", key) for key in found.values()}
    yield Keys(home=home, listed=found["listed"], other=found["other"], armoured=armoured)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


@pytest.fixture
def signing(tmp_path: Path, keys: Keys) -> Repository:
    return Repository(tmp_path / "signed" / "shop", keys.home)


async def names(
    sources: Sources, repository: Repository, keys: Keys, mode: VerificationMode, revision: str = "main"
) -> list[str]:
    source = Source(repo_url=repository.url, target_revision=revision, path="app")
    resolved = await sources.resolve(source, project="default")
    request = RenderRequest(
        application="shop",
        source=source,
        revision=resolved.revision,
        verification=Verification(mode=mode, keys=(keys.listed,)),
    )
    return [each["metadata"]["name"] for each in (await sources.render(request)).objects]


HEAD, STRICT, NONE = VerificationMode.HEAD, VerificationMode.STRICT, VerificationMode.NONE
APP = {"app/a.yaml": config_map("one")}


@pytest.mark.real
async def test_a_signed_head_is_rendered(signing: Repository, make_sources: MakeSources, keys: Keys) -> None:
    signing.commit(APP)
    signing.commit(key=keys.listed)
    assert await names(make_sources(keys=keys.armoured), signing, keys, HEAD) == ["one"]


@pytest.mark.real
async def test_invariant_54_nothing_of_an_unsigned_commit_is_read(
    signing: Repository, make_sources: MakeSources, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    async def reading(store: Store, *arguments: Any) -> Any:
        read.append(repr(arguments))
        raise AssertionError("content was read")

    for name in ("listing", "leaf", "blobs"):
        monkeypatch.setattr(Store, name, reading)
    commit = signing.commit(APP)
    for mode in (HEAD, STRICT):
        with pytest.raises(SignatureError) as error:
            await names(make_sources(keys=keys.armoured), signing, keys, mode)
        assert str(error.value) == (
            f"Failed verifying revision {commit} by 'Ada <ada@example.org>': unsigned (key_id=)"
        )
    assert read == []


@pytest.mark.real
async def test_a_key_that_the_project_does_not_list_counts_nothing(
    signing: Repository, make_sources: MakeSources, keys: Keys
) -> None:
    signing.commit(APP, key=keys.other)
    with pytest.raises(SignatureError, match=rf"signed with unallowed key \(key_id={keys.other}\)"):
        await names(make_sources(keys=keys.armoured), signing, keys, HEAD)


@pytest.mark.real
async def test_a_key_that_is_not_in_the_keyring_counts_nothing(
    signing: Repository, make_sources: MakeSources, keys: Keys
) -> None:
    signing.commit(APP, key=keys.listed)
    with pytest.raises(SignatureError, match="signed with key not in keyring"):
        await names(make_sources(keys={keys.other: keys.armoured[keys.other]}), signing, keys, HEAD)
    with pytest.raises(SignatureError, match="the keyring is empty"):
        await names(make_sources(), signing, keys, HEAD)


@pytest.mark.real
async def test_a_key_that_is_taken_out_counts_no_longer(
    signing: Repository, make_sources: MakeSources, keys: Keys
) -> None:
    from fairlead.agentsync.sources import Repositories

    signing.commit(APP, key=keys.listed)
    sources = make_sources(keys=keys.armoured)
    assert await names(sources, signing, keys, HEAD) == ["one"]
    sources.trust(Repositories(), {keys.other: keys.armoured[keys.other]})
    with pytest.raises(SignatureError):
        await names(sources, signing, keys, HEAD)


@pytest.mark.real
async def test_a_changed_commit_under_an_old_signature_is_refused(
    signing: Repository, make_sources: MakeSources, keys: Keys
) -> None:
    signing.commit(APP, key=keys.listed)
    raw = signing.git("cat-file", "commit", "HEAD")
    forged = signing.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw.replace("change", "forged") + "\n")
    signing.git("update-ref", "refs/heads/main", forged)
    with pytest.raises(SignatureError, match="bad signature"):
        await names(make_sources(keys=keys.armoured), signing, keys, HEAD)


@pytest.mark.real
async def test_an_annotated_tag_speaks_for_its_commit(
    signing: Repository, make_sources: MakeSources, keys: Keys
) -> None:
    signing.commit(APP)
    signing.git("tag", "-s", "-u", keys.listed, "-m", "good", "v1.0.0")
    signing.git("tag", "-a", "-m", "unsigned", "v2.0.0")
    signing.git("tag", "v3.0.0")
    sources = make_sources(keys=keys.armoured)
    assert await names(sources, signing, keys, HEAD, "1.x") == ["one"]
    for revision in ("v2.0.0", "v3.0.0"):
        with pytest.raises(SignatureError, match="unsigned"):
            await names(sources, signing, keys, HEAD, revision)
    with pytest.raises(SignatureError, match="unsigned"):
        await names(sources, signing, keys, STRICT, "v1.0.0")  # the commit itself is not


@pytest.mark.real
async def test_strict_goes_back_to_the_seal(signing: Repository, make_sources: MakeSources, keys: Keys) -> None:
    signing.commit(APP, message="unsigned past")
    signing.commit(message="untrusted seal\n\nArgocd-gpg-seal: no", key=keys.other)
    signing.commit(message="unsigned seal\n\nArgocd-gpg-seal: no")
    signing.commit(key=keys.listed)
    sources = make_sources(keys=keys.armoured)
    assert await names(sources, signing, keys, HEAD) == ["one"]
    with pytest.raises(SignatureError, match=r"unsigned .*signed with unallowed key"):
        await names(sources, signing, keys, STRICT)
    sealed = signing.commit(message="reviewed\n\nargocd-GPG-seal: all of the above", key=keys.listed)
    signing.commit({"app/a.yaml": config_map("two")}, key=keys.listed)
    assert await names(make_sources(keys=keys.armoured), signing, keys, STRICT) == ["two"]
    unsigned = signing.commit({"app/a.yaml": config_map("three")})
    signing.commit(key=keys.listed)
    with pytest.raises(SignatureError) as error:
        await names(make_sources(keys=keys.armoured), signing, keys, STRICT)
    assert unsigned in str(error.value) and sealed not in str(error.value)


@pytest.mark.real
async def test_strict_needs_a_history_that_is_not_cut_off(
    signing: Repository, make_sources: MakeSources, keys: Keys, tmp_path: Path
) -> None:
    signing.commit(APP, message="unsigned past")
    signing.commit(key=keys.listed)
    shallow = tmp_path / "signed" / "shallow"
    signing.git("clone", "--quiet", "--bare", "--depth=1", signing.url, str(shallow))
    source = Source(repo_url=f"file://{shallow}", path="app")
    sources = make_sources(keys=keys.armoured)
    resolved = await sources.resolve(source, project="default")
    request = RenderRequest(
        application="shop",
        source=source,
        revision=resolved.revision,
        verification=Verification(mode=STRICT, keys=(keys.listed,)),
    )
    with pytest.raises(SignatureError, match="is cut off at"):
        await sources.render(request)


@pytest.mark.real
async def test_invariant_54_value_files_of_another_source_need_their_signature_too(
    signing: Repository, make_sources: MakeSources, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chart = {"app/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n"}
    signing.commit(chart, key=keys.listed)
    unsigned = Repository(tmp_path / "signed" / "values")
    commit = unsigned.commit({"live.yaml": "a: 1\n"})
    sources = (
        Source(repo_url=signing.url, path="app", helm=HelmSource(value_files=("$values/live.yaml",))),
        Source(repo_url=unsigned.url, ref="values"),
    )
    listed = Verification(mode=HEAD, keys=(keys.listed,))
    read: list[Store] = []
    really = Store.blobs

    async def reading(store: Store, entries: Any) -> list[bytes]:
        read.append(store)
        return await really(store, entries)

    monkeypatch.setattr(Store, "blobs", reading)
    found = make_sources(keys=keys.armoured)
    whom = For(application="shop", project="default", verifications=(listed, listed))
    with pytest.raises(SignatureError, match=f"Failed verifying revision {commit}"):
        await render_all(found, Render(sources=sources), whom, datetime.now(UTC))
    assert not [store for store in read if store.location.address == unsigned.url]
    # Also a source that nobody borrows from, and that has no manifests itself.
    lonely = RenderRequest(application="shop", source=sources[1], revision=commit, verification=listed)
    with pytest.raises(SignatureError):
        await found.render(lonely)


@pytest.mark.real
async def test_without_gpg_nothing_is_verified_and_nothing_rendered(
    signing: Repository, make_sources: MakeSources, keys: Keys
) -> None:
    signing.commit(APP, key=keys.listed)
    sources = make_sources(keys=keys.armoured, gpg="no-such-gpg")
    with pytest.raises(ProgramMissing, match="signatures cannot be verified: the program 'no-such-gpg'"):
        await names(sources, signing, keys, HEAD)
    assert await names(sources, signing, keys, NONE) == ["one"]
