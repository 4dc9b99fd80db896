"""Progressive delivery for Kubernetes on asyncio: see the README for the map of the packages."""

__version__ = "0.1.0"
