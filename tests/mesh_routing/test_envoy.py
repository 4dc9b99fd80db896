from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fairlead.core.traffic import Applied
from fairlead.mesh_routing._envoy import evidence_of, proxy_routes, refused, service_of_cluster
from tests.mesh_routing.builders import backend, http_route, parent, read, split

WEB = "inbound-vip|80|http|web.shop.svc.cluster.local"
STABLE, CANARY = (f"inbound-vip|80|http|web-{one}.shop.svc.cluster.local" for one in ("stable", "canary"))
TWENTY = {"web-stable": 80, "web-canary": 20}
ERROR = {
    "last_update_attempt": "2026-01-01T00:00:00Z",
    "details": "invalid perl operator: (?=",
    "failed_configuration": {"name": "main_internal"},
}


def weighted(*shares: tuple[str, int], name: str = "shop.web.0") -> dict[str, Any]:
    clusters = [{"name": cluster, "weight": weight} for cluster, weight in shares]
    return {"match": {"prefix": "/"}, "name": name, "route": {"weighted_clusters": {"clusters": clusters}}}


def single(cluster: str, name: str = "shop.web.0") -> dict[str, Any]:
    return {"match": {"prefix": "/"}, "name": name, "route": {"cluster": cluster}}


def chain(*routes: Mapping[str, Any], configuration: str = WEB) -> dict[str, Any]:
    hosts = [{"name": "inbound|http|80", "domains": ["*"], "routes": list(routes)}]
    manager = {"route_config": {"name": configuration, "virtual_hosts": hosts, "validate_clusters": False}}
    return {"name": configuration, "filters": [{"name": "hcm", "typed_config": manager}]}


def dump(*chains: Mapping[str, Any], error: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The answer of `/config_dump?resource=dynamic_listeners`, as Envoy 1.40 gives it."""
    listener = {"name": "main_internal", "filter_chains": list(chains)}
    entry: dict[str, Any] = {"name": "main_internal", "active_state": {"version_info": "1", "listener": listener}}
    configs = [entry]
    if error is not None:
        entry["error_state"] = error
        configs.append({"error_state": error})
    return {"configs": configs}


@pytest.mark.parametrize(
    ("answer", "services", "applied", "why"),
    [
        pytest.param(dump(chain(weighted((STABLE, 80), (CANARY, 20)))), TWENTY, Applied.APPLIED, "", id="equal"),
        pytest.param(dump(chain(weighted((STABLE, 4), (CANARY, 1)))), TWENTY, Applied.APPLIED, "", id="proportional"),
        pytest.param(
            dump(chain(weighted((STABLE, 100), (CANARY, 20)))),
            TWENTY,
            Applied.NOT_YET,
            "web-stable 100",
            id="other-share",
        ),
        pytest.param(dump(chain(single(STABLE))), TWENTY, Applied.NOT_YET, "web-stable 1", id="still-all-stable"),
        pytest.param(
            dump(chain(single(STABLE))),
            {"web-stable": 100, "web-canary": 0},
            Applied.APPLIED,
            "",
            id="weight-0-is-left-out",
        ),
        pytest.param(
            dump(chain(single(CANARY))), {"web-stable": 0, "web-canary": 100}, Applied.APPLIED, "", id="all-canary"
        ),
        pytest.param(
            dump(chain(weighted((STABLE, 80), (CANARY, 20), ("inbound-vip|80|http|other.shop.svc.cluster.local", 9)))),
            TWENTY,
            Applied.APPLIED,
            "",
            id="a-third-backend-of-the-user",
        ),
        pytest.param(
            dump(chain(weighted((STABLE, 80), (CANARY, 20), name="default"))),
            TWENTY,
            Applied.NOT_YET,
            "no route of HTTPRoute shop/web rule 0",
            id="another-route",
        ),
        pytest.param(
            dump(chain(weighted((STABLE.replace(".shop.", ".else."), 80), (CANARY.replace(".shop.", ".else."), 20)))),
            TWENTY,
            Applied.NOT_YET,
            "none of our Services",
            id="another-namespace",
        ),
        pytest.param(dump(), TWENTY, Applied.NOT_YET, "no route of", id="no-chains"),
        pytest.param({}, TWENTY, Applied.NOT_YET, "no route of", id="no-listeners"),
        pytest.param({"configs": [5, {"active_state": "x"}]}, TWENTY, Applied.NOT_YET, "no route", id="odd-entries"),
        pytest.param(
            dump(chain(single(STABLE)), error=ERROR),
            TWENTY,
            Applied.REFUSED,
            "listener main_internal: invalid perl operator: (?=",
            id="refused",
        ),
        pytest.param(
            dump(chain(weighted((STABLE, 80), (CANARY, 20))), error=ERROR),
            TWENTY,
            Applied.APPLIED,
            "",
            id="refused-later-but-ours-is-in",
        ),
        pytest.param(
            {"configs": [{"error_state": ERROR}]}, TWENTY, Applied.REFUSED, "invalid perl", id="no-listener-at-all"
        ),
        pytest.param(
            dump(chain(weighted((STABLE, 80), (CANARY, 20)), single(STABLE))),
            TWENTY,
            Applied.NOT_YET,
            "web-stable 1",
            id="every-route-of-the-rule",
        ),
    ],
)
def test_evidence(answer: dict[str, Any], services: dict[str, int], applied: Applied, why: str) -> None:
    found = evidence_of(answer, read(http_route(split())), services)
    assert (found.applied, why in found.why) == (applied, True), found.why


def test_refusals_that_were_only_counted() -> None:
    found = evidence_of(dump(chain(single(STABLE))), read(http_route(split())), TWENTY, rejected=2)
    assert (found.applied, found.why) == (Applied.REFUSED, "2 listener updates refused; the proxy's log says why")


def test_a_whole_dump_reads_like_one_of_listeners() -> None:
    listeners = dump(chain(weighted((STABLE, 80), (CANARY, 20))))["configs"]
    whole = {"configs": [{"bootstrap": {}}, {"dynamic_listeners": listeners}, {"dynamic_route_configs": []}]}
    assert evidence_of(whole, read(http_route(split())), TWENTY).applied is Applied.APPLIED


def test_a_gateways_route_configuration() -> None:
    routes = chain(weighted(("outbound|80||web-stable.shop.svc.cluster.local", 80), (CANARY, 20)))
    configuration = routes["filters"][0]["typed_config"]["route_config"]
    answer = {"configs": [{"dynamic_route_configs": [{"version_info": "7", "route_config": configuration}]}]}
    assert evidence_of(answer, read(http_route(split(), parents=[{"name": "edge"}])), TWENTY).applied is Applied.APPLIED


def test_a_named_rule_is_looked_for_at_its_own_service_only() -> None:
    other = chain(
        weighted((STABLE, 1), (CANARY, 1), name="split"), configuration="inbound-vip|80|http|api.shop.svc.cluster.local"
    )
    ours = chain(weighted((STABLE, 80), (CANARY, 20), name="split"))
    route = read(http_route(split(name="split")))
    assert evidence_of(dump(other, ours), route, TWENTY).applied is Applied.APPLIED
    assert evidence_of(dump(other), route, TWENTY).applied is Applied.NOT_YET


def test_every_rule_and_every_port_must_have_the_weights() -> None:
    route = read(http_route(split(), {"backendRefs": [backend("other")]}, split(), parents=[parent()]))
    first, third = weighted((STABLE, 80), (CANARY, 20)), weighted((STABLE, 80), (CANARY, 20), name="shop.web.2")
    assert evidence_of(dump(chain(first, third)), route, TWENTY).applied is Applied.APPLIED
    assert evidence_of(dump(chain(first)), route, TWENTY).why == "no route of HTTPRoute shop/web rule 2 in the proxy"
    lagging = chain(single(STABLE), configuration=WEB.replace("|80|", "|81|"))
    assert evidence_of(dump(chain(first, third), lagging), route, TWENTY).applied is Applied.NOT_YET


def test_services_that_the_route_does_not_name_cannot_be_judged() -> None:
    found = evidence_of(dump(), read(http_route({"backendRefs": [backend("other")]})), TWENTY)
    assert found.applied is Applied.UNKNOWN


def test_a_refusal_is_told_once() -> None:
    assert list(refused(dump(error=ERROR))) == ["listener main_internal: invalid perl operator: (?="]


def test_routes_found_in_the_filters_whatever_their_nesting() -> None:
    nested = {"filters": [{"typed_config": {"value": {"route_config": {"name": "x", "virtual_hosts": []}}}}]}
    assert list(proxy_routes(dump(nested))) == []
    assert [one.name for one in proxy_routes(dump(chain(single(STABLE, name="a"), single(CANARY, name="b"))))] == [
        "a",
        "b",
    ]


@pytest.mark.parametrize(
    ("cluster", "service"),
    [
        ("outbound|80||web.shop.svc.cluster.local;", ("web", "shop")),
        ("inbound-vip|80|http|web.shop.svc.example.org", ("web", "shop")),
        ("PassthroughCluster", ("", "")),
        ("outbound|443||example.com", ("", "")),
    ],
)
def test_service_of_cluster(cluster: str, service: tuple[str, str]) -> None:
    assert service_of_cluster(cluster) == service
