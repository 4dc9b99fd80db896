"""What the demo applies to its cluster: a shop behind a waypoint, one Rollout in three versions, and its secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fairlead.core.objects import ObjectKey
from fairlead.testing._wire import cluster_name

NAMESPACE = "shop"
ROLLOUT = ObjectKey(NAMESPACE, "web")
APEX, STABLE, CANARY = ROLLOUT, ObjectKey(NAMESPACE, "web-stable"), ObjectKey(NAMESPACE, "web-canary")
METRIC = "success-rate"
FIRST, GOOD, BAD = "1", "2", "3"  # the versions
WEIGHTS = (20, 50, 100)
FAIL_RATIO = 0.3
SUCCESS_MIN = 0.95
STORE_NAME = "vault"
SECRET = ObjectKey(NAMESPACE, "db")  # of ExternalSecret and Secret
SECRET_PATH, SECRET_KEY = "shop/db", "password"
REFRESH_SECONDS = 1

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast the demo goes.

    A step's pause leaves time for its sample, for the larger one that decides a miss, and for the second that times in
    whole seconds may take away. No verdict on the canary comes earlier than that.

    Attributes:
        rate: requests a second.
        burst: requests a second while a second sample is taken.
        pause: seconds of the steps below 100 %.
        last_pause: seconds of the step at 100 %, where nothing is left to chance.
        initial_delay: seconds until the first measurement.
        interval: seconds between measurements, and what each looks back on at least.
    """

    rate: int = 250
    burst: int = 1000
    pause: int = 9
    last_pause: int = 6
    initial_delay: int = 6
    interval: int = 2

    def as_json(self) -> Json:
        return {
            "requestsPerSecond": self.rate,
            "pauseSeconds": self.pause,
            "lastPauseSeconds": self.last_pause,
            "initialDelaySeconds": self.initial_delay,
            "intervalSeconds": self.interval,
        }


NORMAL = Pace()
FAST = Pace(rate=400, pause=6, last_pause=4, initial_delay=4)


def with_waypoint(namespace: str) -> list[Json]:
    """Return a namespace whose Services are behind a waypoint, and the waypoint."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": namespace, "labels": {"istio.io/use-waypoint": "waypoint"}},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "waypoint", "namespace": namespace},
            "spec": {
                "gatewayClassName": "istio-waypoint",
                "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}],
            },
        },
    ]


def surroundings(metric: Json) -> list[Json]:
    """Return everything but the Rollout.

    Args:
        metric: the provider block of the analysis and its condition.
    """
    return [
        *with_waypoint(NAMESPACE),
        *(_service(key.name) for key in (APEX, STABLE, CANARY)),
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisTemplate",
            "metadata": {"name": METRIC, "namespace": NAMESPACE},
            "spec": {"metrics": [metric]},
        },
    ]


def _service(name: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }


def rollout(version: str, pace: Pace, *, fail_ratio: float = 0.0) -> Json:
    """Return the Rollout at a version."""
    annotations = {"testing.fairlead.dev/fail-ratio": f"{fail_ratio:g}"} if fail_ratio else {}
    container = {"name": "web", "image": f"shop/web:{version}", "ports": [{"name": "http", "containerPort": 8080}]}
    steps: list[Json] = []
    for weight in WEIGHTS:
        pause = pace.last_pause if weight == 100 else pace.pause
        steps += [{"setWeight": weight}, {"pause": {"duration": f"{pause}s"}}]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": ROLLOUT.name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": annotations},
                "spec": {"containers": [container]},
            },
            "strategy": {
                "canary": {
                    "stableService": STABLE.name,
                    "canaryService": CANARY.name,
                    "trafficRouting": {"plugins": {"fairlead/waypoint": {"service": APEX.name}}},
                    # From the first pause on, when Envoy has the first weight.
                    "analysis": {"templates": [{"templateName": METRIC}], "startingStep": 1},
                    "steps": steps,
                }
            },
        },
    }


def external_secret() -> Json:
    """Return what asks for the secret."""
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": SECRET.name, "namespace": NAMESPACE},
        "spec": {
            "refreshInterval": f"{REFRESH_SECONDS}s",
            "secretStoreRef": {"name": STORE_NAME, "kind": "SecretStore"},
            "data": [{"secretKey": SECRET_KEY, "remoteRef": {"key": SECRET_PATH, "property": SECRET_KEY}}],
        },
    }


def _metric(pace: Pace, provider: Json, condition: str) -> Json:
    return {
        "name": METRIC,
        "initialDelay": f"{pace.initial_delay}s",
        "interval": f"{pace.interval}s",
        "successCondition": condition,
        "failureLimit": 1,
        "provider": provider,
    }


def prometheus_metric(pace: Pace, address: str, of: ObjectKey = CANARY) -> Json:
    """Return the success rate of a Service of the last five seconds, asked of a Prometheus that scrapes Envoy."""
    counter = f'envoy_cluster_upstream_rq_xx{{envoy_cluster_name="{cluster_name(of, 80)}"'
    query = f'sum(rate({counter},envoy_response_code_class="2"}}[5s])) / sum(rate({counter}}}[5s]))'
    provider = {"prometheus": {"address": address, "query": query}}
    return _metric(pace, provider, f"len(result) == 1 and result[0] >= {SUCCESS_MIN}")


def web_metric(pace: Pace, admin: str, of: ObjectKey = CANARY) -> Json:
    """Return the success rate of a Service since Envoy's counters were reset, asked of Envoy itself."""
    name = cluster_name(of, 80).replace("|", r"\|").replace(".", r"\.")
    path = rf"/stats?format=json&filter=^cluster\.{name}\.upstream_rq_(2xx|completed)$"
    provider = {"web": {"url": f"http://{admin}{_quoted(path)}", "jsonPath": "{$.stats}"}}
    good, everything = (f'sum(filter(result, {{.name endsWith "{end}"}}), {{.value}})' for end in ("2xx", "completed"))
    return _metric(pace, provider, f"{everything} > 0 and {good} / {everything} >= {SUCCESS_MIN}")


def _quoted(path: str) -> str:
    return path.translate({ord(one): f"%{ord(one):02X}" for one in r"\|^$()"})
