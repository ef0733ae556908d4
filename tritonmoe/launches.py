"""Launch configurations: data in launches.json, one table per architecture family, chosen without asking the
device.
"""

import json
import os
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import torch
import triton

from .launch_files import read

VARIABLE = "TRITONMOE_LAUNCHES"  # a file of tables that go before the shipped ones


@dataclass(frozen=True)
class Tile:
    """Tile of one GEMM kernel; `options` are Triton's launch options (warps, stages, the backend's own).

    swapped: weights are the left operand, so that few rows do not waste the matrix units' height. wide:
    weights through tensor descriptors, and rows too where they lie in order; packed: they are copied into
    order first. persistent: as many programs as the GPU runs at once share the work. short: an expert's last
    tile takes this height if its rows fit in it; 0 for one height. mixed: work on busy experts and on others
    side by side, where an item of the former takes so many percent of the time of one of the latter.
    """

    block_m: int
    block_n: int
    block_k: int
    group_m: int
    options: dict[str, Any]
    swapped: bool = False
    wide: bool = False
    packed: bool = False
    persistent: int = 0
    short: int = 0
    mixed: int = 0


OPTIONAL = tuple(each.name for each in fields(Tile) if each.default is not MISSING)


@dataclass(frozen=True)
class Lanes:
    """A kernel that works on vectors: elements a program holds at once, and Triton's launch options."""

    lanes: int
    options: dict[str, Any]


@dataclass(frozen=True)
class Launch:
    """One configuration of every kernel of the layer; `name` says where it stands in the table.

    tail: up to so many rows past an expert's last whole tile ride along with it, and need no pass over the
    weights of their own. skewed: what the expert products take instead where the schedule finds the busiest
    expert far above the mean. `calls` holds what was launched with it before (`dispatch`), and is no part of
    its value.
    """

    name: str
    block_m: int
    project: Tile
    choose: Lanes
    sort: Lanes
    gate_up: Tile
    down: Tile
    sum: Lanes
    tail: int = 0
    skewed: "Launch | None" = None
    calls: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "calls": {}}  # loaded code cannot go to another process


def select(dtype: torch.dtype, rows_per_expert: float) -> Launch:
    """The shipped configuration for this dtype and expected number of rows an expert, on the active GPU."""
    shipped_here = shipped(dtype, family())
    for launch, most in shipped_here:
        if rows_per_expert <= most:
            return launch
    return shipped_here[-1][0]


@cache
def shipped(dtype: torch.dtype, family_name: str) -> tuple[tuple[Launch, float], ...]:
    """All configurations of a family for a dtype, each with the most rows an expert that it is meant for."""
    table = _tables()[family_name]
    width = "16bit" if dtype.itemsize == 2 else "32bit"
    fixed = {stage: _lanes(table[stage]) for stage in ("choose", "sort", "sum")}
    fixed["project"] = _tile(table["project"][width], None)
    return tuple(
        (
            _launch(
                row,
                f"{family_name}/{width}/" + (f"to{row['max_rows']}" if row["max_rows"] else "more"),
                fixed,
            ),
            float("inf") if row["max_rows"] is None else row["max_rows"],
        )
        for row in table["experts"][width]
    )


def _launch(row: dict[str, Any], name: str, fixed: dict[str, Any]) -> Launch:
    skewed = row.get("skewed")
    return Launch(
        name=name,
        block_m=row["block_m"],
        tail=row.get("tail", 0),
        gate_up=_tile(row["gate_up"], row["block_m"]),
        down=_tile(row["down"], row["block_m"]),
        skewed=_launch(skewed, f"{name}/skewed", fixed) if skewed else None,
        **fixed,
    )


def families() -> tuple[str, ...]:
    """Names of the architecture families that ship a table."""
    return tuple(_tables())


def family() -> str:
    """The family of the active GPU; "default", which fits 64 KiB of shared memory, where there is none of its
    own.
    """
    try:
        driver = triton.runtime.driver.active
        return _family_on(driver, driver.get_current_device())
    except RuntimeError:  # Triton's interpreter on a machine without a GPU
        return "default"


@cache
def _family_on(driver: Any, _device: int) -> str:
    """Asking a driver for its current device's architecture takes as long as a launch."""
    target = driver.get_current_target()
    return family_of(target.backend, target.arch)


@cache
def family_of(backend: str, arch: int | str) -> str:
    name = f"sm{arch}" if backend == "cuda" else str(arch).split(":")[0]
    return next((key for key, table in _tables().items() if name in table["architectures"]), "default")


def use(path: str | Path | None) -> None:
    """From now on, in this process and those it starts, this file's tables go before the shipped ones; None
    for the shipped ones alone. Raises ValueError, saying what is wrong, for what is no launch table.
    """
    if path is None:
        os.environ.pop(VARIABLE, None)
    else:
        read(path, _EXTRAS)
        os.environ[VARIABLE] = str(Path(path).resolve())
    for cached in (_tables, _family_on, family_of, shipped):
        cached.cache_clear()


@cache
def _tables() -> dict[str, Any]:
    tables = json.loads(Path(__file__).with_name("launches.json").read_text())
    given = os.environ.get(VARIABLE)
    # Of two tables for an architecture the first is taken, and of two with one name the user's.
    return {**read(given, _EXTRAS), **tables, **read(given, _EXTRAS)} if given else tables


_EXTRAS = frozenset(OPTIONAL)


def _tile(row: dict[str, Any], block_m: int | None) -> Tile:
    options = {**row["options"], "enable_fp_fusion": True}
    more = {name: row[name] for name in OPTIONAL if name in row}
    return Tile(
        block_m or row["block_m"], row["block_n"], row["block_k"], row.get("group_m", 1), options, **more
    )


def _lanes(row: dict[str, Any]) -> Lanes:
    return Lanes(row["lanes"], {**row["options"], "enable_fp_fusion": True})
