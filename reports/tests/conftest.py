"""Fixtures: drafts written to files and read back."""

from collections.abc import Callable
from pathlib import Path

import pytest

from reports import Report, read

from .build import Draft


@pytest.fixture
def readback(tmp_path: Path) -> Callable[[Draft, str], Report]:
    """Writes a draft and reads it as a report."""
    return lambda draft, name="report.xml": read(draft.write(tmp_path / name))


@pytest.fixture(scope="session")
def cuda(pair: tuple[Path, Path]) -> Report:
    """A sound report of platform cuda."""
    return read(pair[0])


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The files of two sound reports of different platforms that agree."""
    folder = tmp_path_factory.mktemp("pair")
    return Draft("cuda").write(folder / "cuda.xml"), Draft("gfx942").write(folder / "gfx942.xml")
