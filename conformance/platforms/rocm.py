"""An AMD GPU."""

import importlib.metadata
import os
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, DistributionFinder

import torch

from . import Description

DEVICE = "cuda"  # what torch calls a HIP device too


def obstacle() -> str:
    if torch.version.hip is None:
        return "this torch has no ROCm"
    return "" if torch.cuda.is_available() else "no AMD GPU is visible"


def activate() -> None:
    os.environ.pop("TRITON_INTERPRET", None)
    try:
        importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        sys.meta_path.append(_Renamed())


def describe() -> Description:
    properties = torch.cuda.get_device_properties(0)
    return Description(properties.name, properties.gcnArchName, f"HIP {torch.version.hip}")


class _Renamed(DistributionFinder):
    """torch for ROCm brings Triton under another package's name; a report names its version as `triton`."""

    NAMES = ("triton-rocm", "pytorch-triton-rocm")

    def find_spec(self, *_: object) -> None:
        return None

    def find_distributions(self, context: DistributionFinder.Context) -> Iterable[Distribution]:
        if context.name == "triton":
            for name in self.NAMES:
                yield from importlib.metadata.distributions(name=name, path=context.path)
