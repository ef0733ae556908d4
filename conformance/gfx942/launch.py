"""One launch of a kernel: registers as the hardware initializes them, and batches of workgroups that run
together.

Initial registers as in LLVM's "User Guide for AMDGPU Backend", section "Initial Kernel Execution State".
"""

from dataclasses import dataclass

import numpy as np

from .checker import EmulationError, Finding, Findings, coordinates
from .chips import Chip
from .code import CODE, Code
from .counts import Counts
from .lds import LocalShare
from .machine import Machine
from .memory import Memory, Region
from .program import Program
from .run import LIMIT, Runner
from .state import EXEC, GARBAGE, LANES, SCALARS, Group

BATCH_BYTES = 24 << 20  # registers of the wavefronts that run together: what a core's caches can still serve


@dataclass(frozen=True)
class Options:
    """How to run: `seed` None is the natural order; `plain_matrix` sums matrix products in float32 one by
    one; `limit` is the number of basic blocks after which a batch of workgroups counts as endless.
    """

    seed: int | None = None
    plain_matrix: bool = False
    raising: bool = True
    limit: int = LIMIT


def launch(
    code: Code,
    chip: Chip,
    grid: tuple[int, int, int],
    wavefronts: int,
    lds_bytes: int,
    arguments: bytes,
    regions: list[Region],
    options: Options,
    counts: Counts | None = None,
) -> list[Finding]:
    """Runs a grid. `arguments` is the kernel argument segment, `regions` the memory it may touch.

    Returns what the checker found, or raises it as EmulationError when `options.raising`.
    """
    program = code.program
    findings = Findings(program.name, grid, wavefronts)
    workgroups = grid[0] * grid[1] * grid[2]
    random = np.random.default_rng(options.seed) if options.seed is not None else None
    order = np.arange(workgroups) if random is None else random.permutation(workgroups)
    size = max(lds_bytes, program.flag("group_segment_fixed_size"))
    segment = np.frombuffer(bytearray(arguments) + bytes(64), np.uint8)
    kernarg = Region.of_bytes("kernel arguments", segment.__array_interface__["data"][0], segment)
    tables, symbols = _symbols(program)
    scratch_size = program.flag("private_segment_fixed_size")
    together = max(1, BATCH_BYTES // (code.rows * 4 * LANES) // wavefronts)
    with np.errstate(all="ignore"):
        for start in range(0, workgroups, together):
            batch = order[start : start + together]
            scratch = _scratch(scratch_size, len(batch) * wavefronts)
            memory = Memory([*regions, kernarg, *tables, *([scratch] if scratch else [])])
            lds = LocalShare(len(batch), size, wavefronts)
            machine = Machine(
                memory, lds, findings, scratch, scratch_size, plain_matrix=options.plain_matrix, counts=counts
            )
            machine.symbols = symbols
            group = _wavefronts(code, grid, wavefronts, batch, lds.stride, kernarg, arguments, random)
            Runner(code, machine, wavefronts, counts, random, options.limit).run(group)
    if counts is not None:
        counts.launches += 1
        counts.wavefronts += workgroups * wavefronts
    found = list(findings.made.values())
    if found and options.raising:
        raise EmulationError(found)
    return found


def _symbols(program: Program) -> tuple[list[Region], dict[str, int]]:
    """The program's tables of constants, and the addresses of those and of its functions."""
    tables = []
    symbols = {name: CODE + 4 * index for name, index in program.labels.items()}
    for name, content in program.data.items():
        if name.startswith(".L"):
            continue  # what is for a debugger
        store = np.frombuffer(bytearray(content), np.uint8)
        tables.append(Region.of_bytes(name, store.__array_interface__["data"][0], store))
        symbols[name] = tables[-1].first
    return tables, symbols


def _scratch(size: int, wavefronts: int) -> Region | None:
    if not size:
        return None
    store = np.full(size * wavefronts * LANES, 0xA5, np.uint8)
    return Region.of_bytes("scratch", store.__array_interface__["data"][0], store)


def _wavefronts(
    code: Code,
    grid: tuple[int, int, int],
    wavefronts: int,
    batch: np.ndarray,
    lds_stride: int,
    kernarg: Region,
    arguments: bytes,
    random: np.random.Generator | None,
) -> Group:
    """The wavefronts of a batch of workgroups, ready at the entry."""
    number = len(batch) * wavefronts
    local = np.arange(number) if random is None else random.permutation(number)
    workgroup, slot = batch[local // wavefronts], local % wavefronts
    vector = np.full((code.rows, number, LANES), GARBAGE, np.uint32)
    scalar = np.full((SCALARS, number, 1), GARBAGE, np.uint32)
    ids = {
        "wave": (workgroup * wavefronts + slot)[:, None],
        "workgroup": workgroup,
        "slot": slot.astype(np.uint8)[:, None],
        "lds_base": (local // wavefronts * lds_stride)[:, None],
        "local": local[:, None],
    }
    vector[0] = slot[:, None] * LANES + np.arange(LANES)  # work-item id x; y and z are 0
    scalar[EXEC : EXEC + 2] = 0xFFFFFFFF
    first = _user_registers(code, scalar, kernarg, arguments)
    for axis, name in enumerate("xyz"):
        if code.program.flag(f"system_sgpr_workgroup_id_{name}", int(axis == 0)):
            scalar[first, :, 0] = coordinates(workgroup, grid)[axis]
            first += 1
    group = Group(vector, scalar, np.zeros((number, 1), bool), ids)
    group.pc = code.program.entry
    return group


def _user_registers(code: Code, scalar: np.ndarray, kernarg: Region, arguments: bytes) -> int:
    """Fills the user registers; returns the first one behind them."""
    program, at = code.program, 0
    for name, words in (
        ("private_segment_buffer", 4),
        ("dispatch_ptr", 2),
        ("queue_ptr", 2),
        ("kernarg_segment_ptr", 2),
        ("dispatch_id", 2),
        ("flat_scratch_init", 2),
        ("private_segment_size", 1),
    ):
        if program.flag(f"user_sgpr_{name}"):
            if name == "kernarg_segment_ptr":
                scalar[at], scalar[at + 1] = kernarg.first & 0xFFFFFFFF, kernarg.first >> 32
            at += words
    preloaded = program.flag("user_sgpr_kernarg_preload_length")
    start = 4 * program.flag("user_sgpr_kernarg_preload_offset")
    words = np.frombuffer(arguments.ljust(start + 4 * preloaded, b"\0"), np.uint32, preloaded, start)
    for place, word in enumerate(words):
        scalar[at + place] = word
    return max(at + preloaded, program.flag("user_sgpr_count", 0))
