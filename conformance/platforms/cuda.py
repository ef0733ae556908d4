"""An NVIDIA GPU."""

import os

import torch

from . import Description

DEVICE = "cuda"


def obstacle() -> str:
    if torch.version.cuda is None:
        return "this torch has no CUDA"
    return "" if torch.cuda.is_available() else "no NVIDIA GPU is visible"


def activate() -> None:
    os.environ.pop("TRITON_INTERPRET", None)


def describe() -> Description:
    major, minor = torch.cuda.get_device_capability()
    return Description(
        torch.cuda.get_device_name(), f"sm{major}{minor}", f"CUDA {torch.version.cuda}{_kernel_driver()}"
    )


def _kernel_driver() -> str:
    try:
        import pynvml
    except ImportError:
        return ""
    try:
        pynvml.nvmlInit()
        return f", driver {pynvml.nvmlSystemGetDriverVersion()}"
    except pynvml.NVMLError:
        return ""
