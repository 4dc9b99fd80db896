"""Health checks by kind; `fairlead.agentsync.health` is the door."""

from __future__ import annotations
