from __future__ import annotations

from fairlead.core.traffic import AdditionalWeight, Weights
from fairlead.mesh_routing._drift import Writes, after_write, culprit, describe, healed_recently, is_foreign
from tests.mesh_routing.builders import T0, http_route, read, seconds, split

TWENTY, FIFTY = Weights.of_canary(20), Weights.of_canary(50)
WRITES = Writes(uid="route-1", weights=TWENTY, generation=3)


def test_other_weights_at_a_later_generation_are_foreign() -> None:
    assert is_foreign(WRITES, read(http_route(generation=4)), FIFTY)
    assert is_foreign(WRITES, read(http_route(generation=4)), None)


def test_a_lagging_view_shows_nothing_foreign() -> None:
    assert not is_foreign(WRITES, read(http_route(generation=2)), FIFTY)
    assert not is_foreign(WRITES, read(http_route(generation=3)), FIFTY)


def test_what_others_do_to_the_rest_is_not_foreign() -> None:
    assert not is_foreign(WRITES, read(http_route(generation=4)), TWENTY)


def test_without_a_write_of_ours_nothing_is_foreign() -> None:
    assert not is_foreign(None, read(http_route(generation=4)), FIFTY)
    assert not is_foreign(WRITES, read(http_route(generation=4, uid="recreated")), FIFTY)


def test_heals_age_out() -> None:
    writes = Writes(uid="route-1", weights=TWENTY, generation=3, heals=(T0, T0 + seconds(200)))
    assert healed_recently(writes, seconds(300), T0 + seconds(299)) == (T0, T0 + seconds(200))
    assert healed_recently(writes, seconds(300), T0 + seconds(300)) == (T0 + seconds(200),)


def test_a_write_keeps_the_heals_of_its_object_alone() -> None:
    writes = Writes(uid="route-1", weights=TWENTY, generation=3, heals=(T0,))

    def after(uid: str) -> Writes:
        return after_write(
            writes, uid=uid, generation=5, weights=FIFTY, healed=True, within=seconds(300), now=T0 + seconds(1)
        )

    assert after("route-1") == Writes(uid="route-1", weights=FIFTY, generation=5, heals=(T0, T0 + seconds(1)))
    assert after("route-2") == Writes(uid="route-2", weights=FIFTY, generation=5, heals=(T0 + seconds(1),))


def test_culprit_is_the_latest_other_writer_of_rules() -> None:
    def entry(manager: str, time: str, fields: object) -> dict[str, object]:
        return {"manager": manager, "time": time, "fieldsV1": {"f:spec": fields}}

    managed = [
        entry("helm", "2026-01-01T00:00:00Z", {"f:rules": {}}),
        entry("argocd-controller", "2026-01-01T01:00:00Z", {"f:rules": {}}),
        entry("fairlead", "2026-01-01T02:00:00Z", {"f:rules": {}}),
        entry("someone", "2026-01-01T03:00:00Z", {"f:hostnames": {}}),
    ]
    assert culprit(read(http_route(split(), managedFields=managed))) == "argocd-controller"
    assert culprit(read(http_route(split()))) == "an unknown field manager"


def test_describe() -> None:
    added = (AdditionalWeight(service="exp", weight=5),)
    assert describe(Weights.of_canary(20, additional=added)) == "canary 20, stable 75, exp 5"
    assert describe(None) == "no split between stable and canary"
