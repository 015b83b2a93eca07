"""Writes the golden vectors that ``fvcli selftest`` holds an installation against.

    python -m training.golden

Run it whenever the embedded model changes. It takes the vectors of the installation it runs in.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import fvcli.selftest
from fvcli.machine import environment
from fvcli.models.loading import load_model


def main() -> None:
    models = {engine: load_model(engine=engine) for engine in ("int8", "tensorflow")}
    vectors = {engine: fvcli.selftest.vectors_of(model) for engine, model in models.items()}
    made = json.dumps({"identity": models["int8"].identity, "environment": environment()}, sort_keys=True)
    target = Path(fvcli.selftest.__file__).with_name("golden.npz")
    arrays: dict[str, Any] = {"made": np.array(made), **vectors}
    np.savez_compressed(target, **arrays)
    print(f"{target}: {len(fvcli.selftest.IMAGES)} images, model {models['int8'].identity[:12]}")


if __name__ == "__main__":
    main()
