"""An AMD GPU."""

import os

import torch

from . import Description

DEVICE = "cuda"  # what torch calls a HIP device too


def obstacle() -> str:
    if torch.version.hip is None:
        return "this torch has no ROCm"
    return "" if torch.cuda.is_available() else "no AMD GPU is visible"


def activate() -> None:
    os.environ.pop("TRITON_INTERPRET", None)


def describe() -> Description:
    properties = torch.cuda.get_device_properties(0)
    return Description(properties.name, properties.gcnArchName, f"HIP {torch.version.hip}")
