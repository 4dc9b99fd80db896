"""How metric sources are asked: defaults of the whole controller, and what they may reach."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, View
from fairlead.core.kinds import Job

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where clouds serve credentials to whoever asks: link-local addresses, and two more that mean the same.
METADATA_NETWORKS: Final[tuple[Network, ...]] = (
    ipaddress.ip_network("169.254.0.0/16"),
    ipaddress.ip_network("fe80::/10"),
    ipaddress.ip_network("fd00:ec2::/32"),
    ipaddress.ip_network("100.100.100.200/32"),
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebGuard:
    """What the URLs of templates may reach.

    The address that a connection is made to is what counts, not the name in the URL: a name that resolves to a
    forbidden address is refused, and the address that was looked at is the one that is connected to.

    Attributes:
        forbidden: networks that are refused; by default those of cloud metadata. Loopback and private ones are allowed,
            because that is where metric sources live.
        allowed: networks that are reached although `forbidden` holds them.
        other_hosts: whether a redirect may lead to another host.
        environment_proxy: whether HTTP_PROXY and its like are honoured (as upstream, never together with `insecure`).
            Behind a proxy only addresses that stand in the URL itself can be refused.
    """

    forbidden: tuple[Network, ...] = METADATA_NETWORKS
    allowed: tuple[Network, ...] = ()
    other_hosts: bool = False
    environment_proxy: bool = True

    def refusal(self, address: str) -> str:
        """Return why an IP address must not be reached; empty if it may, or if the text is no address.

        >>> WebGuard().refusal("::ffff:169.254.169.254")
        '169.254.169.254 is in 169.254.0.0/16, which the settings forbid'
        """
        try:
            parsed: Address = ipaddress.ip_address(address.strip("[]").partition("%")[0])
        except ValueError:
            return ""
        for candidate in _meanings(parsed):
            network = next((one for one in self.forbidden if _holds(one, candidate)), None)
            if network is not None and not any(_holds(one, candidate) for one in self.allowed):
                return f"{candidate} is in {network}, which the settings forbid"
        return ""


def _holds(network: Network, address: Address) -> bool:
    return network.version == address.version and address in network


def _meanings(address: Address) -> tuple[Address, ...]:
    """Return the address and the IPv4 addresses that it wraps."""
    found: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return (address.ipv4_mapped,)
        if address.sixtofour is not None:
            found.append(address.sixtofour)
        if address.teredo is not None:
            found.append(address.teredo[1])
        if address in _NAT64 or int(address) < 2**32:
            found.append(ipaddress.IPv4Address(int(address) % 2**32))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """Settings of all providers.

    Attributes:
        prometheus_address: asked when a metric names no address.
        guard: what URLs may reach.
        body_bytes_max: of one answer, after decompression; more is an Error. 10 MiB hold about 100,000 series.
        prometheus_threads: queries at a time; the client library blocks, so each takes a thread.
        stale_after: a sample that is older, or further in the future, than this is an Error; None: not looked at.
        strict: whether a success without data needs a condition that speaks of its absence (see `_conditions`).
        job_namespace: where Jobs run; empty: beside their run.
    """

    prometheus_address: str = ""
    guard: WebGuard = WebGuard()
    body_bytes_max: int = 10 * 2**20
    prometheus_threads: int = 8
    stale_after: timedelta | None = timedelta(hours=1)
    strict: bool = False
    job_namespace: str = ""

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> ProviderSettings:
        """Return the settings that upstream's environment variables ask for."""
        return ProviderSettings(
            prometheus_address=environment.get("ARGO_ROLLOUTS_PROMETHEUS_ADDRESS", ""),
            job_namespace=environment.get("ARGO_ROLLOUTS_ANALYSIS_JOB_NAMESPACE", ""),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTools:
    """What a provider works with.

    Attributes:
        cluster: where Jobs are created.
        jobs: a cache of Jobs; without it a Job is read from the cluster.
    """

    clock: Clock
    cluster: Cluster | None = None
    jobs: View[Job] | None = None
    settings: ProviderSettings = field(default_factory=ProviderSettings)
