"""What the bytes of a vector may depend on besides the recipe: library versions and the CPU."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

from fvcli import __version__

_LIBRARIES = ("ai-edge-litert", "cykooz-resizer", "numpy", "pillow", "pyarrow", "simplejpeg")


def environment() -> dict[str, str]:
    """Versions by package name ("none" of what has no build for this machine), and "cpu", "python" and "platform"."""
    libraries = {name: _version(name) for name in _LIBRARIES}
    return {
        "fvcli": __version__,
        "python": platform.python_version(),
        **libraries,
        "cpu": cpu_name(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def cpu_name() -> str:
    """The CPU's model name, family, model and stepping where Linux tells them, else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").split("\n\n", 1)[0].splitlines()
    except OSError:
        return platform.machine()
    values = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    named = [values.get(name, "").strip() for name in ("model name", "cpu family", "model", "stepping")]
    return " / ".join(value for value in named if value) or platform.machine()
