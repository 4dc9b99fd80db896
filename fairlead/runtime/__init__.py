"""From decisions to a controller, over the ports of `fairlead.core` only.

The same code runs on a real cluster (`fairlead.kube`) and on the simulated one (`fairlead.testing`).
"""

from fairlead.runtime.cached import CachedCluster
from fairlead.runtime.clock import SystemClock
from fairlead.runtime.events import EventRecorder, EventSettings
from fairlead.runtime.informers import Informers, controller_key, feed, first_or_normal, own_key
from fairlead.runtime.loop import Controller, ReconcileHook, delay_after
from fairlead.runtime.reflector import Reflector, ReflectorSettings
from fairlead.runtime.store import Change, Store
from fairlead.runtime.workqueue import Lane, QueueClosed, WorkQueue

__all__ = [
    "CachedCluster",
    "Change",
    "Controller",
    "EventRecorder",
    "EventSettings",
    "Informers",
    "Lane",
    "QueueClosed",
    "ReconcileHook",
    "Reflector",
    "ReflectorSettings",
    "Store",
    "SystemClock",
    "WorkQueue",
    "controller_key",
    "delay_after",
    "feed",
    "first_or_normal",
    "own_key",
]
