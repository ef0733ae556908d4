"""What an example or a test executes: lines of the host's code, and places in kernels that Triton compiled.

Recorded once, on the unmutated tree. A mutant that changes a place which an example does not execute cannot
change that example's outcome, so it is not run. A kernel's places are those that Triton's code generator
visits for the launch's specialization: a branch on a constant that is not taken is not among them.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import triton.compiler
from triton import knobs
from triton.backends.amd.compiler import HIPBackend
from triton.compiler.code_generator import CodeGenerator
from triton.compiler.compiler import CompiledKernel
from triton.runtime.cache import get_cache_manager
from triton.runtime.jit import JITFunction

from ..gfx942.driver import _Launcher as Launcher

Place = tuple[str, int, int]  # file of tritonmoe, line, column


class _Known(BaseException):
    """Ends a compilation whose first code says enough; no Exception, for Triton dresses those."""

    def __init__(self, digest: str) -> None:
        super().__init__(digest)
        self.digest = digest


@dataclass
class Reached:
    """Host lines (file, line) and kernels by Triton's hash."""

    lines: set[tuple[str, int]] = field(default_factory=set)
    kernels: set[str] = field(default_factory=set)

    def to_json(self) -> dict[str, Any]:
        return {"lines": sorted(self.lines), "kernels": sorted(self.kernels)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Reached":
        return cls({(file, line) for file, line in data["lines"]}, set(data["kernels"]))


class Recorder:
    """Watches this process: `watching()` gives what was reached. `store`: a folder of kernels' places."""

    def __init__(self, package: Path, store: Path) -> None:
        self.package, self.store = str(package) + os.sep, store
        store.mkdir(parents=True, exist_ok=True)
        self.now: Reached | None = None
        self._visited: set[Place] | None = None
        self._hook()

    @contextmanager
    def watching(self) -> Iterator[Reached]:
        self.now = reached = Reached()
        sys.settrace(self._trace)
        try:
            yield reached
        finally:
            sys.settrace(None)
            self.now = None

    def _trace(self, frame: Any, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(self.package):
            return None
        if self.now is not None:
            self.now.lines.add((name[len(self.package) :], frame.f_lineno))
        return self._trace

    def _hook(self) -> None:
        run, launch, visit = JITFunction.run, Launcher.__call__, CodeGenerator.visit
        compiled, lower = triton.compiler.compile, HIPBackend.make_ttgir

        def running(jit: JITFunction, *arguments: Any, **options: Any) -> Any:
            with _untraced():
                return run(jit, *arguments, **options)

        def launching(launcher: Any, *arguments: Any) -> None:
            if self.now is not None:
                self.now.kernels.add(launcher.metadata.hash)
            with _untraced():
                launch(launcher, *arguments)

        def visiting(generator: CodeGenerator, node: Any) -> Any:
            if self._visited is not None and hasattr(node, "lineno"):
                file = os.path.basename(generator.file_name)
                self._visited.add((file, generator.begin_line + node.lineno, node.col_offset))
            return visit(generator, node)

        def compiling(src: Any, **options: Any) -> CompiledKernel:
            kernel = compiled(src, **options)
            path = self.store / f"{kernel.hash}.json"
            if not path.exists():
                self._visited, knobs.compilation.always_compile = set(), True
                try:
                    compiled(src, **options)
                except _Known as known:
                    _write(path, {"code": known.digest, "places": sorted(self._visited)})
                finally:
                    self._visited, knobs.compilation.always_compile = None, False
            return kernel

        def lowering(module: Any, metadata: dict, options: Any) -> Any:
            if self._visited is not None:
                raise _Known(_digest(module, options))
            return lower(module, metadata, options)

        JITFunction.run, Launcher.__call__, CodeGenerator.visit = running, launching, visiting
        triton.compiler.compile = compiling
        HIPBackend.make_ttgir = staticmethod(lowering)


@dataclass
class Compiled:
    """Whether any kernel was compiled whose code is not a known one's."""

    changed: bool = False


def reuse(known: dict[str, str]) -> Compiled:
    """A kernel whose code, before any optimization, is that of a known one is not compiled again.

    known: hashes of kernels in the cache by the digest of their code.
    """
    found = Compiled()
    compiled, lower = triton.compiler.compile, HIPBackend.make_ttgir

    def compiling(src: Any, **options: Any) -> CompiledKernel:
        try:
            return compiled(src, **options)
        except _Known as same:
            key = known[same.digest]
            group = get_cache_manager(key).get_group(f"{src.name[:150]}.json")
            return CompiledKernel(src, group, key)

    def lowering(module: Any, metadata: dict, options: Any) -> Any:
        digest = _digest(module, options)
        if digest in known:
            raise _Known(digest)
        found.changed = True
        return lower(module, metadata, options)

    triton.compiler.compile = compiling
    HIPBackend.make_ttgir = staticmethod(lowering)
    return found


def kernel_record(store: Path, key: str) -> tuple[str, set[Place]]:
    """(digest of a kernel's code, its places), as a Recorder wrote them."""
    data = json.loads((store / f"{key}.json").read_text())
    return data["code"], {tuple(each) for each in data["places"]}


@contextmanager
def _untraced() -> Iterator[None]:
    """Compiler and emulator have no lines that matter here, and many that would be traced."""
    tracing = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracing)


def _digest(module: Any, options: Any) -> str:
    return hashlib.sha256(f"{module.str_nodebug()}\n{options}".encode()).hexdigest()


def _write(path: Path, data: dict[str, Any]) -> None:
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(data))
    partial.replace(path)
