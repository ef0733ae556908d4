"""Copies of the layer and the suite to run mutants in, and a Triton cache that they cannot dirty."""

import os
import shutil
import sys
from importlib import import_module
from pathlib import Path

from triton import knobs
from triton.runtime.cache import FileCacheManager

# Not imported anew in a copy: nothing in them depends on the layer.
KEPT = ("conformance.gfx942", "conformance.platforms", "conformance.guards", "conformance.power")


class Scratch:
    """A folder with a pristine copy of both packages; mutants get folders of their own beside it."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self.folder = folder
        self.pristine = folder / "pristine"
        for package in ("tritonmoe", "conformance"):
            shutil.copytree(
                tree / package, self.pristine / package, ignore=shutil.ignore_patterns("__pycache__")
            )
        shutil.copy(tree / "pyproject.toml", self.pristine)

    def with_file(self, name: str, file: str, text: str) -> Path:
        """A folder where one file of tritonmoe reads otherwise; the rest is the pristine copy's, by links."""
        made = self.folder / name
        layer = made / "tritonmoe"
        layer.mkdir(parents=True)
        for path in (self.pristine / "tritonmoe").iterdir():
            if path.name != file:
                (layer / path.name).symlink_to(path)
        (layer / file).write_text(text)
        for shared in ("conformance", "pyproject.toml"):
            (made / shared).symlink_to(self.pristine / shared)
        return made

    def drop(self, made: Path) -> None:
        if made != self.pristine:
            shutil.rmtree(made, ignore_errors=True)


def enter(folder: Path) -> None:
    """From now on, in this process, tritonmoe and the suite are those of the folder."""
    sys.dont_write_bytecode = True
    for name in list(sys.modules):
        if name.split(".")[0] in ("tritonmoe", "conformance") and not name.startswith(KEPT):
            del sys.modules[name]
    sys.path.insert(0, str(folder))
    os.chdir(folder)
    package = import_module("conformance")
    for kept in KEPT:
        setattr(package, kept.split(".")[1], sys.modules[kept])


def private_cache(folder: Path) -> None:
    """Kernels that the shared cache has are read from there; what is compiled here stays in the folder."""
    LayeredCache.shared = Path(knobs.cache.dir)
    knobs.cache.dir = str(folder / "triton")
    knobs.cache.manager_class = LayeredCache


class LayeredCache(FileCacheManager):
    """Triton's cache in two layers: the lower one is never written."""

    shared: Path

    def get_file(self, filename: str) -> str | None:
        below = self.shared / self.key / filename
        return super().get_file(filename) or (str(below) if below.exists() else None)

    def get_group(self, filename: str) -> dict[str, str] | None:
        found = super().get_group(filename)
        if found is not None:
            return found
        above, self.cache_dir = self.cache_dir, str(self.shared / self.key)
        try:
            return super().get_group(filename)
        finally:
            self.cache_dir = above
