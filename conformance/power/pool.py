"""Jobs in forked processes: what is heavy is imported once, what a job does to its process dies with it."""

import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

MARGIN = 60.0  # seconds that a job may take over its own limit, for compilers cannot be interrupted


@dataclass(frozen=True)
class Job:
    """`run()` in a process of its own; its value comes back with `name`. After `limit` seconds it ends."""

    name: str
    run: Callable[[], Any]
    limit: float


@dataclass(frozen=True)
class Done:
    name: str
    value: Any = None
    died: str = ""  # why there is no value


def run_all(jobs: Iterable[Job], workers: int) -> Iterator[Done]:
    """Runs jobs, at most `workers` at once, in their order; yields each as it ends."""
    context = multiprocessing.get_context("fork")
    waiting, running = iter(jobs), {}
    exhausted = False
    try:
        while True:
            while not exhausted and len(running) < workers:
                job = next(waiting, None)
                if job is None:
                    exhausted = True
                    break
                here, there = context.Pipe(duplex=False)
                process = context.Process(target=_run, args=(job, there), daemon=True)
                process.start()
                there.close()
                running[here] = (job, process, time.monotonic() + job.limit + MARGIN)
            if not running:
                return
            for pipe in wait(list(running), timeout=1.0):
                job, process, _ = running.pop(pipe)
                yield _received(job, process, pipe)
            for pipe, (job, process, deadline) in list(running.items()):
                if time.monotonic() > deadline:
                    del running[pipe]
                    process.kill()
                    process.join()
                    yield Done(job.name, died=f"not done after {job.limit + MARGIN:.0f} s")
    finally:
        for _, process, _ in running.values():
            process.kill()
            process.join()


def _received(job: Job, process: Any, pipe: Connection) -> Done:
    try:
        value, error = pipe.recv()
    except EOFError:
        process.join()
        return Done(job.name, died=f"the process died, exit code {process.exitcode}")
    process.join()
    return Done(job.name, value, error)


def _run(job: Job, pipe: Connection) -> None:
    try:
        pipe.send((job.run(), ""))
    except BaseException:
        pipe.send((None, traceback.format_exc()))
