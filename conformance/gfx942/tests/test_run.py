"""Order, barriers and divergence: workgroups and wavefronts come in any order, part, and meet again."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import triton
import triton.language as tl

from conformance.gfx942 import Counts, gfx942, run
from conformance.gfx942.tests.faults import arange

I32 = torch.int32
SEEDS = range(20)


@triton.jit
def tickets(counter, out):
    """Programs write their numbers in the order in which they come."""
    place = tl.atomic_add(counter, 1)
    tl.store(out + place, tl.program_id(0))


@triton.jit
def locked(lock, total, WIDE: tl.constexpr):
    """Adds to a sum that only one program may hold at a time."""
    at = tl.arange(0, WIDE)
    while tl.atomic_cas(lock, 0, 1) == 1:
        pass
    value = tl.load(total + at, volatile=True)
    value += tl.sum(at, 0) + tl.program_id(0)
    tl.store(total + at, value)
    tl.debug_barrier()
    tl.atomic_xchg(lock, 0)


@triton.jit
def now(flag):
    """Loaded anew at each call: some versions of the compiler move a volatile load out of a loop."""
    return tl.inline_asm_elementwise(
        "global_load_dword $0, $1, off sc0 sc1\n\ts_waitcnt vmcnt(0)",
        "=v,v",
        [flag.to(tl.int64)],
        dtype=tl.int32,
        is_pure=False,
        pack=1,
    )


@triton.jit
def flagged(x, flag, out, BLOCK: tl.constexpr):
    """The last program computes something with barriers, all others wait for its flag without any."""
    at, program = tl.arange(0, BLOCK), tl.program_id(0)
    if program == 3:
        total = tl.sum(tl.load(x + at), 0)
        total = tl.max(tl.load(x + at) + total, 0)
        tl.store(out, total)
        tl.debug_barrier()
        tl.atomic_xchg(flag, 1)
    else:
        while now(flag) == 0:
            pass
        tl.store(out + program + 1, tl.load(out))


@triton.jit
def steps(count, out, BLOCK: tl.constexpr):
    """Trip counts differ between programs; the sum and the store behind the loop are common to all."""
    value = tl.arange(0, BLOCK)
    for _ in range(tl.load(count + tl.program_id(0))):
        value = value * 3 + 1
    tl.store(out + tl.program_id(0), tl.sum(value, 0))


@triton.jit
def either(x, out, BLOCK: tl.constexpr):
    """Two ways on, each with barriers of its own."""
    at = tl.arange(0, BLOCK)
    value = tl.load(x + tl.program_id(0) * BLOCK + at)
    if tl.load(x + tl.program_id(0) * BLOCK) > 0:
        value = value + tl.sum(value, 0)
    else:
        value = tl.cumsum(value, 0)
    tl.store(out + tl.program_id(0) * BLOCK + at, value)


@triton.jit
def times(x, out, FACTOR: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at) * FACTOR)


def line_of(kernel: triton.JITFunction, text: str) -> int:
    return next(
        number for number, line in enumerate(kernel.raw_src, kernel.starting_line_number) if text in line
    )


def widths_by_line(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> dict[int, list[int]]:
    """How many wavefronts stood together at each source line, each time it was executed."""
    seen: dict[int, list[int]] = {}
    block = run.Runner._block

    def watched(self: run.Runner, g: Any, start: int, last: int) -> None:
        for line in {each.location.line for each in self.code.instructions[start : last + 1]}:
            seen.setdefault(line, []).append(g.width)
        block(self, g, start, last)

    monkeypatch.setattr(run.Runner, "_block", watched)
    work()
    return seen


def numbers_of(ordered: bool) -> list[list[int]]:
    """Results of 20 seeds: of tickets, or of a kernel that does not depend on order."""
    results = []
    for seed in SEEDS:
        out = torch.zeros(12, dtype=I32)
        with gfx942(seed=seed):
            if ordered:
                tickets[(12,)](torch.zeros(1, dtype=I32), out)
            else:
                steps[(12,)](torch.arange(12, dtype=I32), out, 256)
        results.append(out.tolist())
    return results


def test_a_result_that_depends_on_order_differs_between_seeds() -> None:
    results = numbers_of(ordered=True)
    assert all(sorted(each) == list(range(12)) for each in results)
    assert len(set(map(tuple, results))) > 15


def test_without_a_seed_workgroups_come_in_order() -> None:
    out = torch.zeros(12, dtype=I32)
    with gfx942():
        tickets[(12,)](torch.zeros(1, dtype=I32), out)
    assert out.tolist() == list(range(12))


def test_a_seed_gives_the_same_order_again() -> None:
    assert numbers_of(ordered=True) == numbers_of(ordered=True)


def test_a_result_that_does_not_depend_on_order_is_the_same_for_all_seeds() -> None:
    results = numbers_of(ordered=False)
    assert all(each == results[0] for each in results)


@pytest.mark.parametrize("seed", [None, *range(6)])
@pytest.mark.parametrize("warps", [1, 4])
def test_a_spin_lock_between_programs_ends(seed: int | None, warps: int) -> None:
    lock, total = torch.zeros(1, dtype=I32), torch.zeros(256, dtype=I32)
    with gfx942(seed=seed):
        locked[(6,)](lock, total, 256, num_warps=warps)
    assert (total == 6 * sum(range(256)) + sum(range(6))).all()
    assert not lock.any()


@pytest.mark.parametrize("seed", [None, *range(4)])
def test_a_program_that_others_spin_for_comes_through_its_barriers(
    seed: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "PATIENCE", 500)
    out = torch.zeros(4, dtype=I32)
    with gfx942(seed=seed, limit=100_000):
        flagged[(4,)](torch.arange(256, dtype=I32), torch.zeros(1, dtype=I32), out, 256)
    assert (out == sum(range(256)) + 255).all()


@pytest.mark.parametrize("seed", [None, 1])
def test_programs_with_different_trip_counts_end_right(seed: int | None) -> None:
    count, out = torch.tensor([0, 5, 1, 5, 7, 0], dtype=I32), torch.zeros(6, dtype=I32)
    with gfx942(seed=seed):
        steps[(6,)](count, out, 256)
    assert out.tolist() == [sum(after(value, trips) for value in range(256)) for trips in count.tolist()]


def after(value: int, trips: int) -> int:
    for _ in range(trips):
        value = value * 3 + 1
    return value


def test_wavefronts_that_parted_go_on_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six programs of 4 wavefronts leave a loop after 0 to 7 trips; behind it all 24 are together."""
    count = torch.tensor([0, 5, 1, 5, 7, 0], dtype=I32)
    with gfx942():
        seen = widths_by_line(monkeypatch, lambda: steps[(6,)](count, torch.zeros(6, dtype=I32), 256))
    body, store = (line_of(steps, text) for text in ("value * 3", "tl.store"))
    assert max(seen[body]) < 24
    assert seen[store][0] == 24
    assert len(seen[store]) < 10


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_programs_that_part_may_wait_at_different_barriers(seed: int | None) -> None:
    x = torch.randint(-9, 10, (8, 256), dtype=I32, generator=torch.Generator().manual_seed(0))
    out = torch.zeros_like(x)
    with gfx942(seed=seed):
        either[(8,)](x, out, 256)
    expected = torch.where(x[:, :1] > 0, x + x.sum(1, keepdim=True), x.cumsum(1))
    assert torch.equal(out, expected.int())


def test_wavefronts_of_one_workgroup_may_take_different_ways() -> None:
    """An edit: each wavefront adds its own number to what it loaded, in a loop of as many trips."""

    def edit(assembly: str) -> str:
        assembly = re.sub(
            r"^(\.LBB0_0:.*)$", r"\1\n\tv_readfirstlane_b32 s90, v0", assembly, count=1, flags=re.M
        )
        load = re.search(r"buffer_load_dword (v\d+), .*", assembly)
        assert load
        loop = (
            "\ts_waitcnt vmcnt(0)\n\ts_lshr_b32 s90, s90, 6\n"
            ".LAGAIN:\n\ts_cmp_eq_u32 s90, 0\n\ts_cbranch_scc1 .LDONE\n"
            f"\tv_add_f32_e32 {load[1]}, 1.0, {load[1]}\n"
            "\ts_sub_u32 s90, s90, 1\n\ts_branch .LAGAIN\n.LDONE:\n"
        )
        return re.sub(r"^\ts_waitcnt vmcnt\(0\)\n(?=\tbuffer_store)", loop, assembly, flags=re.M)

    x, out, counts = arange(256), torch.zeros(256), Counts()
    with gfx942(edit=edit, counts=counts):
        times[(1,)](x, out, 1, 256)
    assert torch.equal(out, x + torch.arange(256) // 64)
    assert counts.opcodes["s_sub_u32"] == 0 + 1 + 2 + 3
    assert counts.opcodes["buffer_store_dword"] == 4
