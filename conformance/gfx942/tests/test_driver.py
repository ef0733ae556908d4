"""What the driver takes: arguments of every kind, grids, hooks, and several chips in turn."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime import driver
from triton.runtime.errors import OutOfResources
from triton.tools.tensor_descriptor import TensorDescriptor

from conformance.gfx942 import Counts, ProgramError, emulate, gfx942
from conformance.gfx942.tests import faults
from conformance.gfx942.tests.faults import Edit, arange, launch

I32, F64 = torch.int32, torch.float64


@triton.jit
def place_of(out, WIDE: tl.constexpr, HIGH: tl.constexpr):
    x, y, z = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    tl.store(out + (z * HIGH + y) * WIDE + x, 1 + x + 10 * y + 100 * z)


@triton.jit
def scalars(
    out, half: tl.float16, brain: tl.bfloat16, double: tl.float64, small: tl.int8, big: tl.uint64, a, b, c, d
):
    tl.store(out, half.to(tl.float64))
    tl.store(out + 1, brain.to(tl.float64))
    tl.store(out + 2, double)
    tl.store(out + 3, small.to(tl.float64))
    tl.store(out + 4, big.to(tl.float64))
    tl.store(out + 5, a.to(tl.float64))
    tl.store(out + 6, b.to(tl.float64))
    tl.store(out + 7, c.to(tl.float64))
    tl.store(out + 8, d.to(tl.float64))


@triton.jit
def pairs(sides, out, scale, BLOCK: tl.constexpr):
    """A tuple of a pointer, a number, a constant and a tuple of pointers, one of them None."""
    x, count, factor, others = sides
    at = tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < count, other=0) * factor + scale
    if others[0] is not None:
        value += tl.load(others[0] + at)
    if others[1] is not None:
        value += tl.load(others[1] + at)
    tl.store(out + at, value)


@triton.jit
def named(sides, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(sides.x + at) - tl.load(sides.y + at))


class Sides(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


@triton.jit
def described(x, out, row, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    out.store([row, 0], x.load([row, 0]) * 2)


@triton.jit
def times(x, out, FACTOR: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at) * FACTOR)


@pytest.mark.parametrize("grid", [(7,), (3, 5), (2, 3, 4), (1, 1, 9), (1, 6)])
def test_grids_of_one_to_three_dimensions(grid: tuple[int, ...]) -> None:
    wide, high, deep = (*grid, 1, 1)[:3]
    out = torch.zeros(deep, high, wide, dtype=I32)
    with gfx942():
        place_of[grid](out, wide, high)
    x, y, z = torch.arange(wide), torch.arange(high)[:, None], torch.arange(deep)[:, None, None]
    assert torch.equal(out, (1 + x + 10 * y + 100 * z).int())


def test_a_grid_may_depend_on_the_constants() -> None:
    out = torch.zeros(1, 1, 5, dtype=I32)
    with gfx942():
        place_of[lambda meta: (meta["WIDE"],)](out, WIDE=5, HIGH=1)
    assert out.ravel().tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("grid", [(0,), (3, 0), (1, 2, 0)])
def test_an_empty_grid_runs_nothing(grid: tuple[int, ...]) -> None:
    out, counts = torch.zeros(8, dtype=I32), Counts()
    with gfx942(counts=counts):
        place_of[grid](out, 1, 1)
    assert not out.any()
    assert not counts.wavefronts


def test_scalars_of_every_type_arrive() -> None:
    out = torch.zeros(9, dtype=F64)
    with gfx942():
        scalars[(1,)](out, 0.1, 0.1, 0.1, -5, 2**63 + 2**20, True, -7, 2**40, 1.5)
    # Triton's own drivers round to float16 and cut to bfloat16.
    cut = torch.tensor(0.1).view(I32).bitwise_and(-65536).view(torch.float32).item()
    half = torch.tensor(0.1, dtype=torch.float16).item()
    assert out.tolist() == [half, cut, 0.1, -5, 2**63 + 2**20, 1, -7, 2**40, 1.5]


def test_tuples_and_none_arrive() -> None:
    x, y, out = arange(256), arange(256) * 3, torch.zeros(256)
    with gfx942():
        pairs[(1,)]((x, 200, tl.constexpr(2), (None, y)), out, 0.5, 256)
    assert torch.equal(out, torch.where(torch.arange(256) < 200, 2 * x, 0) + 0.5 + y)


def test_named_tuples_arrive() -> None:
    x, y, out = arange(256), arange(256) * 3, torch.zeros(256)
    with gfx942():
        named[(1,)](Sides(x, y), out, 256)
    assert torch.equal(out, x - y)


def test_host_tensor_descriptors_arrive() -> None:
    """The last block reaches over the end: nothing is read or written there."""
    x, out = arange(20, 32), torch.zeros(20, 32)
    given = [TensorDescriptor.from_tensor(each, [16, 32]) for each in (x, out)]
    with gfx942():
        described[(1,)](*given, 16, 16, 32)
    assert torch.equal(out[16:], 2 * x[16:])
    assert not out[:16].any()


def test_hooks_are_called_around_a_launch() -> None:
    called: list[str] = []
    enter, leave = lambda data: called.append("enter"), lambda data: called.append("leave")
    triton.knobs.runtime.launch_enter_hook.add(enter)
    triton.knobs.runtime.launch_exit_hook.add(leave)
    try:
        with gfx942():
            times[(1,)](arange(256), torch.zeros(256), 2, 256)
    finally:
        triton.knobs.runtime.launch_enter_hook.remove(enter)
        triton.knobs.runtime.launch_exit_hook.remove(leave)
    assert called == ["enter", "leave"]


def test_a_tensor_elsewhere_is_refused() -> None:
    with gfx942(), pytest.raises(ValueError, match="x lies on meta; an emulated kernel takes CPU tensors"):
        times[(1,)](torch.zeros(256, device="meta"), torch.zeros(256), 2, 256)


def test_the_driver_before_is_active_again() -> None:
    before = driver._active
    with gfx942():
        outer = driver.active
        with gfx942("gfx950"):
            assert driver.active.get_current_target().arch == "gfx950"
        assert driver.active is outer
    assert driver._active is before


def test_the_driver_before_is_active_again_after_a_fault() -> None:
    before = driver._active
    with pytest.raises(RuntimeError, match="1 faults"), gfx942():
        launch(
            faults.copy_rows, 2, x=arange(1, 64), out=torch.zeros(2, 64), stride=64, out_stride=64, COLUMNS=64
        )()
    assert driver._active is before


def test_an_unknown_chip_is_refused() -> None:
    with (
        pytest.raises(ValueError, match="'gfx90c' cannot be emulated; expected one of gfx942"),
        emulate("gfx90c"),
    ):
        pass


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (
            faults.replace(r"buffer_load_dword (.*)", r"buffer_load_lds_dword \1"),
            "`buffer_load_lds_dword .*` .*is not implemented",
        ),
        (
            faults.replace(r"buffer_load_dword (.*)", r"buffer_load_dword \1 tfe"),
            "tfe of `buffer_load_dword .*` is not implemented",
        ),
        (
            faults.replace(r"\.amdhsa_next_free_vgpr .*", ".amdhsa_next_free_vgpr 520"),
            "uses 520 vector registers; .* has 512",
        ),
        (
            faults.replace(r"\.amdhsa_next_free_sgpr .*", ".amdhsa_next_free_sgpr 110"),
            "uses 110 scalar registers; .* has 102",
        ),
        (
            faults.replace(r"\.amdhsa_group_segment_fixed_size .*", ".amdhsa_group_segment_fixed_size 65540"),
            "uses 65540 bytes of LDS; .* has 65536",
        ),
        (lambda assembly: "s_endpgm", "holds no .amdhsa_kernel"),
    ],
)
def test_code_that_the_chip_cannot_run_is_refused_before_it_runs(edit: Edit, says: str) -> None:
    out = torch.zeros(256)
    with gfx942(edit=edit), pytest.raises(ProgramError, match=says):
        times[(1,)](arange(256), out, 2, 256)
    assert not out.any()


def test_more_lds_than_the_chip_has_is_refused() -> None:
    big = dict(
        x=torch.zeros(256, 256), y=torch.zeros(256, 256), out=torch.zeros(256, 256), M=256, N=256, K=256
    )
    with gfx942(), pytest.raises(OutOfResources, match=r"shared memory, Required: .* Hardware limit: 65536"):
        launch(faults.product, 1, **big, k=256, rows=256, num_warps=8)()


def test_a_kernel_runs_on_one_chip_after_another() -> None:
    """The same kernel object: each chip runs its own code."""
    targets = []

    def edit(assembly: str) -> str:
        targets.extend(re.findall(r"\.amdgcn_target .*-(gfx\w+)", assembly))
        return assembly

    for factor, arch in enumerate(("gfx942", "gfx950", "gfx942", "gfx90a", "gfx942"), 2):
        out = torch.zeros(256)
        with emulate(arch, edit=edit):
            times[(1,)](arange(256), out, factor % 2 + 2, 256)
        assert torch.equal(out, arange(256) * (factor % 2 + 2))
    assert targets == ["gfx942", "gfx950", "gfx90a"]  # each chip's code is read once


@pytest.mark.parametrize("arch", ["gfx942", "gfx950", "gfx90a"])
def test_a_sum_runs_on_every_chip(arch: str) -> None:
    x, out = arange(16, 64), torch.zeros(16)
    with emulate(arch):
        launch(faults.spread, 1, x=x, out=out, MASK=False, HEIGHT=16, WIDTH=64)()
    assert torch.equal(out, x.sum(1))


def product(arch: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Of small whole numbers, which every chip gets right: (got, expected)."""
    x = (arange(64, 64) % 7 - 3).bfloat16()
    out = torch.zeros(64, 64)
    with emulate(arch):
        launch(faults.product, 1, x=x, y=x, out=out, k=64, rows=64, M=64, N=64, K=64)()
    return out, x.float() @ x.float()


@pytest.mark.parametrize("arch", ["gfx942", "gfx90a"])
def test_a_product_runs_where_the_opcodes_are_the_same(arch: str) -> None:
    assert torch.equal(*product(arch))


def test_what_a_newer_chip_needs_is_named() -> None:
    with pytest.raises(
        ProgramError, match=r"product for gfx950 cannot run here:\n  `ds_read_b64_tr_b16 |`v_bitop3_b32 "
    ):
        product("gfx950")
