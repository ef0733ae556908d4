"""What `tritonmoe tune` tries: fields of a tile and their values, and how it walks from one to the next."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import triton

from ..launches import Tile

Row = dict[str, Any]
OPTIONS = ("num_warps", "num_stages", "waves_per_eu", "matrix_instr_nonkdim", "kpack")
MOST_ACCUMULATORS = 128  # float32 sums a thread keeps in registers; twice as many spill


class Space:
    """Values of each field for one stage, tile height, dtype and GPU, and which combinations make sense."""

    def __init__(
        self, stage: str, block_m: int, dtype: torch.dtype, backend: str, arch: int | str, shared: int
    ) -> None:
        self.stage, self.block_m, self.itemsize, self.shared = stage, block_m, dtype.itemsize, shared
        self.warp = 64 if backend == "hip" else 32
        wide_block = 128 if stage == "gate_up" else 256
        self.values: dict[str, tuple] = {
            "block_n": tuple(n for n in (32, 64, 128, 256) if n <= wide_block),
            "block_k": (32, 64, 128, 256) if self.itemsize == 2 else (16, 32, 64),
            "group_m": (1, 4, 8, 16, 32),
            "num_warps": (4, 8) if backend == "cuda" else (2, 4, 8),
            "num_stages": (2, 3, 4, 5, 6) if backend == "cuda" else (1, 2),
            "persistent": (0, 1, 2),
            "swapped": (False, True) if block_m <= 64 else (False,),
            "short": (0, *(height for height in (16, 32, 64) if height < block_m)),
        }
        if backend == "cuda" and int(arch) >= 90:
            self.values["wide"] = (False, True)
            self.values["packed"] = (False, True) if stage == "gate_up" else (False,)
        if backend == "hip":
            self.values["waves_per_eu"] = (0, 2)
            self.values["matrix_instr_nonkdim"] = (16, 32)
            self.values["kpack"] = (1, 2)

    def seeds(self, shipped: Sequence[Row]) -> list[Row]:
        """Where to start: what ships, at this height, and a tile through descriptors where there are some."""
        start = [row for row in shipped if self.valid(row)]
        plain = {"block_n": 64, "block_k": 64 if self.itemsize == 2 else 32, "group_m": 8}
        start.append({**plain, "options": {"num_warps": 4, "num_stages": 2}})
        if "wide" in self.values:
            wide = {"block_n": self.values["block_n"][-1], "wide": True, "persistent": 1}
            wide["options"] = {"num_warps": 8, "num_stages": 3}
            start.append({**plain, **wide})
            if self.stage == "gate_up":
                start.append({**plain, **wide, "packed": True})
        return [row for row in unique(start) if self.valid(row)]

    def neighbours(self, row: Row) -> list[Row]:
        """All valid rows that differ from this one in one field."""
        near = [changed(row, name, value) for name, values in self.values.items() for value in values]
        return [each for each in unique(near) if self.valid(each) and key(each) != key(row)]

    def valid(self, row: Row) -> bool:
        """Whether it can run and is no other row in disguise."""
        options, get = row["options"], row.get
        columns = row["block_n"] * (2 if self.stage == "gate_up" else 1)
        sums = self.block_m * columns / (options["num_warps"] * self.warp)
        buffers = max(1, options["num_stages"] - (self.warp == 64))
        bytes_held = buffers * row["block_k"] * (self.block_m + columns) * self.itemsize
        return (
            sums <= MOST_ACCUMULATORS
            and bytes_held <= self.shared
            and get("short", 0) < self.block_m
            and all(
                not get(name) or True in self.values.get(name, ()) for name in ("wide", "packed", "swapped")
            )
            and not (get("packed") and not get("wide"))
            and not (get("swapped") and (get("wide") or row["block_n"] < 64))
        )


def changed(row: Row, name: str, value: Any) -> Row:
    """The row with another value of a field; a field at its default is left out, as launches.json does."""
    made = {**row, "options": dict(row["options"])}
    target = made["options"] if name in OPTIONS else made
    if not value and name not in ("block_n", "block_k", "group_m"):
        target.pop(name, None)
    else:
        target[name] = value
    return made


def tile_of(row: Row, block_m: int) -> Tile:
    """The launch configuration that a row of a table means."""
    return Tile(block_m, **{**row, "options": {**row["options"], "enable_fp_fusion": True}})


def descend(
    seeds: Sequence[Row],
    neighbours: Callable[[Row], Sequence[Row]],
    measure: Callable[[Sequence[Row]], Mapping[str, float]],
    rounds: int,
) -> dict[str, float]:
    """Measures seeds, then neighbours of the fastest until none is faster, `rounds` times at most.

    `measure` returns milliseconds by key for the rows that are right. All that was measured, fastest first.
    """
    found: dict[str, float] = {}
    tried: set[str] = set()
    front, best = list(seeds), None
    for _ in range(rounds + 1):
        fresh = [row for row in unique(front) if key(row) not in tried]
        tried.update(map(key, fresh))
        found.update(measure(fresh) if fresh else {})
        fastest = min(found, key=lambda name: (found[name], name), default=None)
        if fastest is None or fastest == best:
            break
        best = fastest
        front = list(neighbours(json.loads(best)))
    return dict(sorted(found.items(), key=lambda item: (item[1], item[0])))


def heights(rows_per_expert: float, dtype: torch.dtype) -> list[int]:
    """Tile heights worth a search: around the rows that an expert has."""
    near = triton.next_power_of_2(max(1, round(rows_per_expert)))
    most = 128 if dtype.itemsize == 2 else 64
    return [
        each for each in (16, 32, 64, 128) if min(most, near // 4) <= each <= min(most, max(16, 2 * near))
    ]


def unique(rows: Sequence[Row]) -> list[Row]:
    return list({key(row): row for row in rows}.values())


def key(row: Row) -> str:
    return json.dumps(row, sort_keys=True)
