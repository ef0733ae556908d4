"""The emulator's own tests run where it is the platform: elsewhere Triton's kernels are interpreted, or a
GPU's.
"""

from pathlib import Path

import pytest

from conformance.conftest import ACTIVE


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.stash[ACTIVE][0] != "gfx942" else None
