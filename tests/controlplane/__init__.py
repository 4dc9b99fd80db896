"""A real Kubernetes control plane on loopback, without containers: see `plane.py`."""
