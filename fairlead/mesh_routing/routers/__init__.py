"""The routers that ship with fairlead: one file per block of the user's manifest.

A router of your own is a class with the shape of `core.traffic.RouterFactory`, made from a `RouterTools`, under the
entry-point group `fairlead.traffic_routers`; `tests/mesh_routing/contract.py` shows what it must do.
"""
