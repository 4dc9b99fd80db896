"""How providers are found."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from fairlead.core.errors import SpecError
from fairlead.secrets.stores import registry
from fairlead.secrets.stores.fake import FakeProvider
from fairlead.secrets.stores.registry import BUILT_IN, GROUP, StoreProviders


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_built_in_providers_are_made_once(name: str) -> None:
    providers = StoreProviders()
    assert providers.provider(name) is providers.provider(name)


@pytest.mark.parametrize(
    ("name", "says"),
    [("gcpsm", "is not built into fairlead yet"), ("nonsense", "is no provider")],
)
def test_what_is_not_there_is_an_error_of_that_store(name: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        StoreProviders().provider(name)
    assert caught.value.path == f"spec.provider.{name}"
    assert GROUP in str(caught.value)


def test_a_provider_that_is_handed_over_takes_precedence() -> None:
    class Mine(FakeProvider):
        pass

    assert isinstance(StoreProviders({"vault": Mine}).provider("vault"), Mine)


@pytest.mark.parametrize(
    ("value", "works"),
    [
        ("fairlead.secrets.stores.fake:FakeProvider", True),
        ("no.such.module:Thing", False),
        ("fairlead.secrets.stores.fake:Nobody", False),
    ],
)
def test_installed_packages_add_providers(monkeypatch: pytest.MonkeyPatch, value: str, works: bool) -> None:
    def found(*, group: str, name: str) -> list[EntryPoint]:
        return [EntryPoint(name=name, value=value, group=group)] if (group, name) == (GROUP, "gcpsm") else []

    monkeypatch.setattr(registry, "entry_points", found)
    if works:
        assert isinstance(StoreProviders().provider("gcpsm"), FakeProvider)
    else:
        with pytest.raises(SpecError, match="cannot be loaded"):
            StoreProviders().provider("gcpsm")
