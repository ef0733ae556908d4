"""Mutants are executed on the emulated GPU, which these tests make the active one; not beside a real one."""

from pathlib import Path

import pytest

from conformance.conftest import ACTIVE


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.stash[ACTIVE][0] != "gfx942" else None
