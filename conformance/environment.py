"""What a report says of where it came from: versions, device, and digests of the sources and the corpus."""

import hashlib
import os
import subprocess
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from types import ModuleType

import hypothesis
import torch

import tritonmoe

from . import corpus, platforms
from .matrix import MATRIX_VERSION

CONTRACT_VERSION = "1"
COMMIT_VARIABLE = "TRITONMOE_COMMIT"  # for a copy of the tree that has no .git


def suite_properties(platform: str, module: ModuleType, profile: str) -> dict[str, str]:
    """The properties of the report's testsuite, in the contract's order."""
    description = module.describe()
    return {
        "contract.version": CONTRACT_VERSION,
        "matrix.version": MATRIX_VERSION,
        "platform": platform,
        "evidence": platforms.EVIDENCE[platform],
        "profile": profile,
        "device.name": description.name,
        "device.arch": description.arch,
        "driver": description.driver,
        "torch": torch.__version__,
        "triton": version("triton"),
        "hypothesis": hypothesis.__version__,
        "python": python_version(),
        "source.digest": source_digest(),
        "corpus.digest": corpus.digest(),
        "commit": commit(),
    }


def source_digest() -> str:
    """SHA-256 over what all platforms share: kernels, configurations, and the suite that judges them.

    Left out: the platforms themselves with the emulator, the command lines, the tools that time and tune,
    and the tests beside the matrix.
    """
    sha = hashlib.sha256()
    for root in (Path(tritonmoe.__file__).parent, Path(__file__).parent):
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root.parent).as_posix()
            if path.suffix in (".py", ".json") and not _left_out(name):
                sha.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return sha.hexdigest()


def _left_out(name: str) -> bool:
    parts = name.split("/")
    if parts[0] != "conformance":
        return parts[1] == "speed"
    tests_beside = parts[-1].startswith("test_") and parts[-1] != "test_matrix.py"
    return tests_beside or parts[1] in (
        "platforms",
        "gfx942",
        "power",
        "commands.py",
        "corpus.json",
        "found.json",
    )


def commit() -> str:
    """The checkout's commit, "+dirty" if the tree differs from it, "unknown" outside a checkout."""
    if COMMIT_VARIABLE in os.environ:
        return os.environ[COMMIT_VARIABLE]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+dirty" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
