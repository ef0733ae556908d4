"""Compiling many configurations at once, in processes that never touch the GPU.

Each process runs the layer's own host code on tensors without storage, under a driver that compiles for the
GPU's target and drops every launch. What it compiles lands in Triton's cache, where the measuring process
finds it.
"""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase

from ..config import MoEConfig
from ..down import down
from ..gate_up import gate_up
from ..launches import Launch
from ..schedule import plan_of


class Job(NamedTuple):
    """One stage ("gate_up" or "down") of one configuration, for a model's sizes and a batch."""

    stage: str
    launch: Launch
    config: MoEConfig
    dtype: torch.dtype
    tokens: int


class Compiled(NamedTuple):
    """Shared memory in bytes, and why it did not compile, "" if it did."""

    shared: int
    error: str


class Pool:
    """Processes that compile for one target; a context manager."""

    def __init__(self, target: GPUTarget, workers: int | None = None) -> None:
        self._target = target
        self._workers = workers or os.cpu_count() or 1
        self._executor = self._started()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(cancel_futures=True)

    def compile(self, jobs: Sequence[Job]) -> list[Compiled]:
        """In the order of jobs; one that crashes the compiler costs its process, not the search."""
        pending = [self._submit(job) for job in jobs]
        return [self._result(future, job) for future, job in zip(pending, jobs, strict=True)]

    def _submit(self, job: Job) -> Future | None:
        try:
            return self._executor.submit(compile_job, job)
        except BrokenProcessPool:
            return None

    def _result(self, future: Future | None, job: Job) -> Compiled:
        try:
            if future is not None:
                return future.result()
        except BrokenProcessPool:
            pass
        # Some job took the pool down: this one again, alone, to learn whether it was the one.
        self._executor.shutdown(cancel_futures=True)
        self._executor = self._started()
        try:
            return self._executor.submit(compile_job, job).result()
        except BrokenProcessPool:
            self._executor = self._started()
            return Compiled(0, "crashes the compiler")

    def _started(self) -> ProcessPoolExecutor:
        parts = self._target.backend, self._target.arch, self._target.warp_size
        return ProcessPoolExecutor(self._workers, get_context("spawn"), _start, parts)


def compile_job(job: Job) -> Compiled:
    """Runs in a process of the pool."""
    found: list[int] = []
    triton.knobs.compilation.listener = lambda **made: found.append(made["metadata"]["shared"])
    config, launch = job.config, job.launch
    slots = job.tokens * config.top_k

    def empty(*shape: int, dtype: torch.dtype = job.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    try:
        ids = empty(job.tokens, config.top_k, dtype=torch.int32)
        plan = plan_of(ids, config.experts, launch)
        found.clear()
        if job.stage == "gate_up":
            w_gate_up = empty(config.experts, 2 * config.intermediate, config.hidden)
            gate_up(empty(job.tokens, config.hidden), w_gate_up, plan, launch)
        else:
            w_down = empty(config.experts, config.hidden, config.intermediate)
            down(empty(slots, config.intermediate), w_down, plan, launch)
    except Exception as error:  # whatever a compiler raises: this configuration is out
        return Compiled(0, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    return Compiled(max(found, default=0), "")


def _start(backend: str, arch: int | str, warp_size: int) -> None:
    triton.runtime.driver.set_active(DroppedLaunches(GPUTarget(backend, arch, warp_size)))


class DroppedLaunches(DriverBase):
    """A Triton driver that compiles for a target and launches nothing."""

    def __init__(self, target: GPUTarget) -> None:
        super().__init__()
        self.target = target
        self.utils = SimpleNamespace(
            load_binary=lambda *_: (
                None,
                None,
                0,
                0,
                1024,
            ),  # module, function, registers, spills, most threads
            get_device_properties=lambda _: {
                "max_shared_mem": 1 << 30,
                "multiprocessor_count": 1,
                "warpSize": target.warp_size,
            },
        )
        self.launcher_cls = _dropped

    @classmethod
    def is_active(cls) -> bool:
        return True

    def map_python_to_cpp_type(self, ty: str) -> str:
        return ty

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_active_torch_device(self) -> torch.device:
        return torch.device("meta")

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_benchmarker(self) -> Any:
        raise NotImplementedError("nothing runs here, so nothing can be timed")


def _dropped(source: Any, metadata: Any) -> Any:
    return lambda *arguments, **options: None
