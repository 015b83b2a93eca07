"""The module that the usual TensorFlow Hub script runs, made by fvcli's own exporter.

    python -m benchmarks.hub_module NETWORK FOLDER

NETWORK is any quantops MobileNet V1 1.0 that fvcli reads; it is set to the embedded model's input size, so that both
sides do the same arithmetic (how long that takes does not depend on the numbers). Prints the module's path.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from fvcli.models.loading import embedded_file, load_network
from fvcli.models.mobilenet.export import export_model


def main(name: str, folder: str) -> None:
    network = load_network(name)
    spec = embedded_file()[0].input_spec
    network = replace(network, input_spec=replace(network.input_spec, height=spec.height, width=spec.width))
    if not network.quantized or network.layers[-1].bias.size != 1024:
        sys.exit(f"{name}: not a quantops MobileNet V1 1.0")
    print(export_model(network, "module", "hub-module", Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
