"""Where training computes: on a GPU in half precision, on CPUs in single precision."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import torch

from fvcli.machine import set_malloc

LIBRARIES = ("torch", "numpy", "pillow")

M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1
"""glibc's numbers of them (malloc.h)."""


class Device:
    """The first GPU, if there is one, else the CPU."""

    def __init__(self) -> None:
        self.fast = torch.cuda.is_available()
        self.name = torch.device("cuda" if self.fast else "cpu")
        if self.fast:
            torch.backends.cudnn.benchmark = True
            torch.set_float32_matmul_precision("high")

    def precision(self) -> torch.autocast:
        """The context that networks are run in. Losses and weights are float32 everywhere."""
        return torch.autocast(self.name.type, dtype=torch.float16, enabled=self.fast)

    def description(self) -> dict[str, Any]:
        """The device and the versions that decide the last digits of the result."""
        return {
            "device": torch.cuda.get_device_name() if self.fast else platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        }


def keep_freed_memory() -> None:
    """Has glibc keep all that this process frees: to fetch the pages of large maps anew takes long."""
    set_malloc([(M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1)])
