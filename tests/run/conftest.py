"""The bench on which extraction is tried with a small model."""

from __future__ import annotations

from tests.helpers.in_process import bench, memory_path

__all__ = ["bench", "memory_path"]
