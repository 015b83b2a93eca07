"""The 16 sizes of MobileNet V1 that Google published, each plain and with simulated quantization (quantops).

SHA-256 sums are those that packagers pin; accuracies (ImageNet, percent) are the published ones:
https://github.com/tensorflow/models/blob/master/research/slim/nets/mobilenet_v1.md
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

from fvcli.errors import ModelError

LICENSE: Final = "Apache-2.0"
ARCHIVES_URL: Final = "https://storage.googleapis.com/download.tensorflow.org/models"
ARCHIVES_VARIABLE: Final = "FVCLI_ARCHIVES_URL"
"""Environment variable that names a mirror of ARCHIVES_URL."""

HUB_URL: Final = "https://tfhub.dev/google/imagenet"

_HANDLE: Final = re.compile(
    r"/google/imagenet/mobilenet_v1_(\d{3})_(\d{3})/(quantops/)?(?:feature_vector|classification)/\d+"
)


@dataclass(frozen=True, slots=True)
class PublishedNetwork:
    """One published network. size: input height and width. sha256: of its archive. top1, top5: None if unpublished."""

    multiplier: float
    size: int
    quantized: bool
    sha256: str
    top1: float | None
    top5: float | None

    @property
    def name(self) -> str:
        """The name of its archive and checkpoint: mobilenet_v1_1.0_160_quant."""
        return f"mobilenet_v1_{self.multiplier}_{self.size}{'_quant' if self.quantized else ''}"

    @property
    def archive(self) -> str:
        """The archive's path below ARCHIVES_URL."""
        return f"mobilenet_v1_{'2018_08_02' if self.quantized else '2018_02_22'}/{self.name}.tgz"

    @property
    def url(self) -> str:
        """The address of the archive, at Google or at the mirror that FVCLI_ARCHIVES_URL names."""
        return f"{os.environ.get(ARCHIVES_VARIABLE, ARCHIVES_URL).rstrip('/')}/{self.archive}"

    @property
    def handle(self) -> str:
        """The TF Hub handle of the feature vector module: version 3 is the last in TF1 format."""
        kind = "quantops/feature_vector" if self.quantized else "feature_vector"
        return f"{HUB_URL}/mobilenet_v1_{round(self.multiplier * 100):03}_{self.size}/{kind}/3"


CATALOG: Final = (
    PublishedNetwork(1.0, 224, False, "1ccb74dbd9c5f7aea879120614e91617db9534bdfaa53dfea54b7c14162e126b", 70.9, 89.9),
    PublishedNetwork(1.0, 192, False, "ad683fb270cd1b0f49c820c4acf5fcbbfa546ae354b1345a4fff5f19f99d7c44", 70.0, 89.2),
    PublishedNetwork(1.0, 160, False, "1f612ebeda0e7e149897273c445b790ca8924a8a1488e6a61d36166a562fd89c", 68.0, 87.7),
    PublishedNetwork(1.0, 128, False, "d16f3102c1cb087eacf94c6a5abf0477767158fb891b2710409472bca4d988a8", 65.2, 85.8),
    PublishedNetwork(0.75, 224, False, "bf61b3ce7ca2d045bb35fa6ab9a68732e3531291266db4a8c7715227d7425657", 68.4, None),
    PublishedNetwork(0.75, 192, False, "3d91d279cd06c055500aabdff8dfbd51a63797c7bb6b3f9a39e243f7c13997e9", None, None),
    PublishedNetwork(0.75, 160, False, "90b3f26406a89df489373358aa89d9db7bcb66d2400160f16f3687f79e4f66b2", None, None),
    PublishedNetwork(0.75, 128, False, "54a28065f6f230d0b71cf8fbbc50bbb89b4fdfada8e7e2a622da68b971d5ab97", None, None),
    PublishedNetwork(0.5, 224, False, "0eb9be8d18dcf9466a2a2d2157e71c83cd70dc168255d76d72bfe965318db725", None, None),
    PublishedNetwork(0.5, 192, False, "57c81cc48349d1079377f8cdeed3f017500aeb98a12f16c6ed2086a50848ecb6", None, None),
    PublishedNetwork(0.5, 160, False, "fb01b76ca1fb053e5f98d297e21c6c53d0d9f6a8b02ad2e88ac22b33b2adf729", None, None),
    PublishedNetwork(0.5, 128, False, "5a0def0d844327526385b110cdcaa6428d0828ff6d07515ef25bf3976e049d88", None, None),
    PublishedNetwork(0.25, 224, False, "eee166d4d1de004e2ee5de19a4f5045574d764ef59569dc284545f805a295074", None, None),
    PublishedNetwork(0.25, 192, False, "4889d7afabc31011f5218f6111532947ff7d5b6b9368afe1f152c67c6f30ea73", None, None),
    PublishedNetwork(0.25, 160, False, "8eb4540af0227e5e59849c41ca6da6f07e257cca887ec0f8cd33aeb46f1405cf", None, None),
    PublishedNetwork(0.25, 128, False, "34c52de7562259f66399993ef5ea222cc625d2e6f6f886a01fdc6cc99a0c7ee6", None, None),
    PublishedNetwork(1.0, 224, True, "d32432d28673a936b2d6281ab0600c71cf7226dfe4cdcef3012555f691744166", 70.0, 89.0),
    PublishedNetwork(1.0, 192, True, "b87b20c784e756fb52e265cc31fbea5b3236c9a001205bc24ed27985875b4559", 69.1, 88.1),
    PublishedNetwork(1.0, 160, True, "b5c9da0d5215a1c1faab313f88ba0a900ac199c7af45f559ab65c63b0649bee1", 66.9, 86.7),
    PublishedNetwork(1.0, 128, True, "29aec24c721329b83ff667195431ff9151362ba1854dfc8852d03aef5ac40def", 63.3, 84.1),
    PublishedNetwork(0.75, 224, True, "6c40604a53edb295e6fd72ead340759db63a2e4d930593610f4d09efe17aa9b7", 66.9, 86.9),
    PublishedNetwork(0.75, 192, True, "8dc64937bd9f35dcf8d3baa16b8eda47e2473c3af51641bf309d1ed2b1a355af", 66.1, 86.2),
    PublishedNetwork(0.75, 160, True, "ed023a21c1fbb062a4777056f79910aab6137c9a83655317020faed6ad0ca738", 62.4, 83.7),
    PublishedNetwork(0.75, 128, True, "14cd0b9c5cde26272c68ecc50de054979663e28fb1fd0348166d408a8b45538f", 55.9, 79.1),
    PublishedNetwork(0.5, 224, True, "f61c28ab322a3ef441341431d33732ef79dfbf03ebc00769c12e5843573b2e9c", 61.2, 83.2),
    PublishedNetwork(0.5, 192, True, "b3b7aca2599c9a09f7ebeb3f624fc51bc4897b9356950b67a5f11c65666dab3d", 59.9, 82.1),
    PublishedNetwork(0.5, 160, True, "036ff1a53180f844ee629ae5846c2b18dfa94371c51c44016c70dc9688a34d31", 57.2, 80.5),
    PublishedNetwork(0.5, 128, True, "0a5b18571d3df4d85a5ac6cb5be829d141dd5855243ea04422ca7d19f730a506", 54.9, 78.1),
    PublishedNetwork(0.25, 224, True, "be8131a23c93a83d7d0b1875ac34aa2e06319aef377f89dc6be2e8f10a0589ca", 48.2, 72.8),
    PublishedNetwork(0.25, 192, True, "33f4ca5c5c7fb70f81a23ec06a884482ddcf5d26e32e4211781e110afb7a0877", 45.7, 70.8),
    PublishedNetwork(0.25, 160, True, "8aba0b905df472d994c1d923efa743c7dfe182df579e0440b8e78c8f714ddc98", 42.8, 68.1),
    PublishedNetwork(0.25, 128, True, "40230cd1a429a20cfd648f08f72b6d554ca8f4bff838341cb8210bd167962c0e", 39.5, 64.4),
)


def find_entry(name: str) -> PublishedNetwork | None:
    """The entry of that name, or None."""
    return next((entry for entry in CATALOG if entry.name == name), None)


def catalog_entry(name: str) -> PublishedNetwork:
    """The entry of that name. Raises ModelError if there is none."""
    entry = find_entry(name)
    if entry is None:
        raise ModelError(f"{name}: not in the catalog; `fvcli models list` shows the names")
    return entry


def entry_of_handle(handle: str) -> PublishedNetwork | None:
    """The network that a tfhub.dev handle of a MobileNet V1 stands for, whatever its version; None for another."""
    found = _HANDLE.search(handle)
    if found is None:
        return None
    multiplier, size, quantized = int(found[1]) / 100, int(found[2]), found[3] is not None
    wanted = (multiplier, size, quantized)
    return next((entry for entry in CATALOG if (entry.multiplier, entry.size, entry.quantized) == wanted), None)
