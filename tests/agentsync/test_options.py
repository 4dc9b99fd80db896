"""Sync options: which win, and what they mean."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fairlead.agentsync.actions import Propagation
from fairlead.agentsync.options import Consent, SyncOptions, ignores_extraneous, parse_options, split_list
from fairlead.agentsync.resources import Object
from tests.agentsync.world import manifest


def with_options(text: str) -> Object:
    return manifest("ConfigMap", "one", options=text)


PLAIN = manifest("ConfigMap", "one")
Question = Callable[[SyncOptions, Object], object]

QUESTIONS: dict[str, Question] = {
    "Validate": lambda options, one: options.validates(one),
    "SkipDryRunOnMissingResource": lambda options, one: options.skips_dry_run_on_missing(one),
    "PruneLast": lambda options, one: options.prunes_last(one),
    "Replace": lambda options, one: options.replaces(one, None),
    "ServerSideApply": lambda options, one: options.is_server_side(one),
}


@pytest.mark.parametrize("name", list(QUESTIONS))
def test_the_resource_wins_over_the_application(name: str) -> None:
    question = QUESTIONS[name]
    default = name == "Validate"
    assert question(SyncOptions(), PLAIN) is default
    for app in ("true", "false"):
        assert question(SyncOptions.of([f"{name}={app}"]), PLAIN) is (app == "true")
        for own in ("true", "false"):
            assert question(SyncOptions.of([f"{name}={app}"]), with_options(f"{name}={own}")) is (own == "true")


@pytest.mark.parametrize(
    ("app", "own", "consent"),
    [
        ([], "", Consent.ALLOWED),
        (["Prune=false"], "", Consent.NEVER),
        (["Prune=confirm"], "", Consent.CONFIRM),
        (["Prune=false"], "Prune=true", Consent.ALLOWED),
        (["Prune=confirm"], "Prune=false", Consent.NEVER),
        ([], "Prune=confirm", Consent.CONFIRM),
        ([], "Prune=nonsense", Consent.ALLOWED),
    ],
)
def test_pruning_is_allowed_asked_for_or_forbidden(app: list[str], own: str, consent: Consent) -> None:
    assert SyncOptions.of(app).prunes(with_options(own)) is consent


@pytest.mark.parametrize(
    ("own", "consent"),
    [
        ("", Consent.ALLOWED),
        ("Delete=false", Consent.NEVER),
        ("Delete=confirm", Consent.CONFIRM),
        ("Prune=confirm", Consent.CONFIRM),
        ("Prune=false", Consent.ALLOWED),
        ("Delete=false,Prune=confirm", Consent.NEVER),
    ],
)
def test_a_cascade_asks_where_pruning_asks(own: str, consent: Consent) -> None:
    assert SyncOptions().deletes(with_options(own)) is consent


def test_what_helm_keeps_is_kept() -> None:
    kept = manifest("ConfigMap", "one", **{"helm.sh/resource-policy": "keep"})
    assert SyncOptions().deletes(kept) is Consent.NEVER


def test_trap_15_an_option_left_on_the_live_object_alone_still_counts() -> None:
    options = SyncOptions()
    assert options.replaces(PLAIN, with_options("Replace=true"))
    assert options.forces(PLAIN, with_options("Force=true"))
    assert not options.forces(PLAIN, PLAIN)


def test_force_for_all_comes_from_the_operation_and_not_from_the_options() -> None:
    assert not SyncOptions.of(["Force=true"]).forces(PLAIN, None)
    assert SyncOptions().forces(PLAIN, None, operation=True)


def test_options_of_the_application_alone() -> None:
    options = SyncOptions.of(
        [
            "ApplyOutOfSyncOnly=true",
            "CreateNamespace=true",
            "FailOnSharedResource=true",
            "RespectIgnoreDifferences=true",
            "ClientSideApplyMigration=false",
            "PrunePropagationPolicy=background",
        ]
    )
    assert options.applies_out_of_sync_only
    assert options.creates_namespace
    assert options.fails_on_shared
    assert options.respects_ignores
    assert not options.migrates
    assert options.propagation is Propagation.BACKGROUND
    nothing = SyncOptions()
    assert not nothing.applies_out_of_sync_only
    assert nothing.migrates
    assert nothing.propagation is Propagation.FOREGROUND
    assert SyncOptions.of(["PrunePropagationPolicy=sideways"]).propagation is Propagation.FOREGROUND


def test_lists_are_read_as_people_write_them() -> None:
    assert split_list(" Prune=false , ,Validate=false") == ("Prune=false", "Validate=false")
    assert parse_options([" A=b ", "nonsense", "=c", "A=d"]) == {"A": "d"}


def test_extraneous_objects_may_be_ignored() -> None:
    assert ignores_extraneous(manifest("ConfigMap", "one", compare="IgnoreExtraneous"))
    assert not ignores_extraneous(PLAIN)
