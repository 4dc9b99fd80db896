"""Where desired state comes from: Git repositories, charts, directories, and the tools that render them."""

from __future__ import annotations
