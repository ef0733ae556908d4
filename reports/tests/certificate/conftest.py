"""Fixtures: a sound scene, made once and copied for each test that spoils it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reports.certificate.against import Against

from .scene import Scene, build


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Scene]:
    return {waived: build(tmp_path_factory.mktemp("scene"), waived) for waived in (False, True)}


@pytest.fixture
def copy_of(originals: dict[bool, Scene], tmp_path: Path) -> Callable[[bool], Scene]:
    """A copy of the scene without or with a waived case."""

    def copied(waived: bool = False) -> Scene:
        original = originals[waived]
        folder = tmp_path / "scene"
        shutil.copytree(original.folder, folder)

        def moved(path: Path | None) -> Path | None:
            return path and folder / path.relative_to(original.folder)

        there = original.against
        return replace(
            original,
            folder=folder,
            left=moved(original.left),
            right=moved(original.right),
            keys=list(original.keys),
            against=Against(*map(moved, (there.tree, there.wheel, there.waivers, there.power))),
        )

    return copied


@pytest.fixture
def scene(copy_of: Callable[[bool], Scene]) -> Scene:
    return copy_of(False)
