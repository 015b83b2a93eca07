"""The folder in memory in which commands are tried."""

from __future__ import annotations

from tests.helpers.in_process import memory_path

__all__ = ["memory_path"]
