"""What an Application waits for, for `fairlead explain`."""

from __future__ import annotations

from fairlead.agentsync.explain import details, explain
from fairlead.agentsync.kinds import APPLICATIONS
from fairlead.agentsync.status import decode_status
from fairlead.controller.explain import Explanation
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.core.conditions import Condition
from fairlead.core.objects import ObjectKey


async def explain_application(cluster: Cluster, clock: Clock, key: ObjectKey) -> Explanation:
    """Return what an Application waits for, as its status tells it. NotFound: there is none. Nothing is written."""
    found = await cluster.get(APPLICATIONS, key)
    status = decode_status(found.status)
    return Explanation(
        phase=f"{status.sync.status or 'Unknown'}, {status.health.status or 'Unknown'}",
        message=status.health.message,
        blocked_on=explain(found, clock.now()),
        conditions=tuple(
            Condition(type=one.type, status="True", message=one.message, last_transition_time=one.last_transition_time)
            for one in status.conditions
        ),
        details=details(found),
    )
