"""What a launch configuration may ask of the expert products, whether or not this platform ships it.

Every flag at every boundary of rows, over several blocks of columns and several steps of the sum.
"""

import dataclasses

import pytest
import torch
import triton
import triton.language as tl

from conformance import reference
from conformance.judge import Judgement
from conformance.philox import Stream
from conformance.reference import Quantity
from conformance.test_edges import check_exact, exact_experts
from conformance.test_edges import dtype as dtype
from tritonmoe import fused_experts
from tritonmoe.down import down
from tritonmoe.gate_up import gate_up
from tritonmoe.launches import OPTIONAL, Launch, Tile, family, shipped
from tritonmoe.schedule import schedule
from tritonmoe.tiles import describable, load_rows, row_tiles, store

BLOCK_M, BLOCK_N, BLOCK_K, SHORT = 64, 32, 32, 16
WIDTH = 80  # two and a half blocks, or steps
FLAGS = {
    "plain": {},
    "swapped": dict(swapped=True),
    "short": dict(short=SHORT),
    "short and swapped": dict(short=SHORT, swapped=True),
    "swapped where not wide": dict(swapped=True, wide=True),
    "wide": dict(wide=True),
    "wide and packed": dict(wide=True, packed=True),
    "wide and persistent": dict(wide=True, persistent=1),
    "persistent": dict(persistent=1),
    "persistent and mixed": dict(persistent=1, mixed=150),
    "all that go together": dict(wide=True, packed=True, persistent=1, mixed=150, short=2 * SHORT),
}
tails = pytest.mark.parametrize("tail", [0, 16], ids=["no tail", "tail"])
flags_of = pytest.mark.parametrize("flags", FLAGS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@tails
@flags_of
def test_every_row_is_served_whatever_a_launch_asks_for(
    flags: str, tail: int, dtype: torch.dtype, device: torch.device
) -> None:
    """Experts of one row to three tiles; each boundary between heights, and a row more."""
    rows = [1, 0, BLOCK_M, 2 * BLOCK_M + tail]
    rows += [edge + more for edge in (SHORT + tail, BLOCK_M + tail) for more in (0, 1)]
    ids = torch.cat([torch.full((number, 1), expert) for expert, number in enumerate(rows)])
    check_exact(
        len(rows), ids, dtype, device, launch_with(flags, tail, dtype), hidden=WIDTH, intermediate=WIDTH
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", ["plain", "stepped"])
@tails
@flags_of
def test_products_keep_their_precision_whatever_a_launch_asks_for(
    flags: str, tail: int, layout: str, dtype: torch.dtype, device: torch.device
) -> None:
    """stepped: rows of x and of the activation have gaps, which descriptors cannot skip."""
    launch = launch_with(flags, tail, dtype)
    ids = torch.tensor([2] * (BLOCK_M + tail) + [0] * 7 + [1] * 3)[:, None]
    stream = Stream(7, "tiles")
    x = stream.normal((len(ids), WIDTH)).to(dtype)
    w_gate_up = (stream.normal((3, 2 * WIDTH, WIDTH)) * WIDTH**-0.5).to(dtype)
    w_down = (stream.normal((3, WIDTH, WIDTH)) * WIDTH**-0.5).to(dtype)
    plan = schedule(ids.to(device), 3, launch)
    activation = gate_up(laid_out(x.to(device), layout), w_gate_up.to(device), plan, launch)
    partial = down(laid_out(activation, layout), w_down.to(device), plan, launch).cpu()

    slots = plan.sorted_slots.cpu().long()
    chosen, judgement = ids[slots, 0], Judgement()
    expected = reference.gate_up(
        Quantity.given(x[slots]), w_gate_up, chosen, dtype, torch.zeros(len(ids), WIDTH)
    )
    judgement.real("activation", activation.cpu(), expected, dtype)
    expected = reference.down(Quantity.given(activation.cpu()), w_down, chosen, dtype, False)
    judgement.real("partial", partial, expected, dtype)
    assert judgement.faults == []


@pytest.mark.parametrize("flags", ["plain", "wide and packed", "persistent and mixed"])
@pytest.mark.parametrize("hot", [BLOCK_M + 3, 5 * BLOCK_M], ids=["even", "skewed"])
def test_each_kind_of_schedule_is_served_by_its_own_tiles(hot: int, flags: str, device: torch.device) -> None:
    """Tiles of half the height, with no rows riding along, where one expert has over four times the mean."""
    rows, dtype = [hot, 30, 40, 20, 30, 19, 23, 12], torch.bfloat16
    ids = torch.cat([torch.full((number, 1), expert) for expert, number in enumerate(rows)])
    launch = launch_with(flags, 16, dtype, skewed=True)
    check_exact(len(rows), ids, dtype, device, launch, hidden=WIDTH, intermediate=WIDTH)


@flags_of
def test_one_token_without_a_schedule_has_the_bits_that_it_has_with_one(
    flags: str, device: torch.device
) -> None:
    """Ids with gaps between them are sorted as any others are."""
    dtype = torch.bfloat16
    launch = launch_with(flags, 16, dtype)
    stream = Stream(11, "one token")
    x = stream.normal((1, WIDTH)).to(dtype)
    w_gate_up = (stream.normal((6, 2 * WIDTH, WIDTH)) * WIDTH**-0.5).to(dtype)
    w_down = (stream.normal((6, WIDTH, WIDTH)) * WIDTH**-0.5).to(dtype)
    ids = torch.tensor([[4, -1, 1, 6, 0]]).to(device)
    given = [each.to(device) for each in (x, w_gate_up, w_down)]
    weights = stream.normal((1, 5)).float().to(device)
    alone, sorted_ = (
        fused_experts(*given, each, weights, launch=launch)
        for each in (ids, ids.repeat_interleave(2, dim=1)[:, ::2])
    )
    assert alone.isfinite().all()
    assert alone.count_nonzero() > WIDTH // 2
    assert torch.equal(alone, sorted_)


@flags_of
def test_what_the_schedule_leaves_unwritten_is_not_looked_at(flags: str, device: torch.device) -> None:
    """Slots beyond the last served one may hold any number, which is no row of x."""
    launch = launch_with(flags, 16, torch.bfloat16)
    ids = torch.tensor([[2], [-1], [2], [0], [3]])
    x, w_gate_up, w_down = (each.to(device) for each in exact_experts(5, 3, torch.bfloat16, 32, 16))
    made = []
    for beyond in (0, 2**24):  # far from x, and less than 2**31 bytes: AMD's offsets would come round
        plan = schedule(ids.to(device), 3, launch)
        plan.sorted_slots[3:] = beyond
        activation = gate_up(x, w_gate_up, plan, launch)
        made.append((activation[:3], down(activation, w_down, plan, launch)[:3]))
    assert all(torch.equal(first, second) for first, second in zip(*made, strict=True))


@tails
def test_descriptors_reach_the_last_of_many_small_experts(
    tail: int, dtype: torch.dtype, device: torch.device
) -> None:
    ids = torch.tensor([[63], [40], [33], [63], [0]])
    check_exact(64, ids, dtype, device, launch_with("wide", tail, dtype), hidden=32, intermediate=16)


@triton.jit
def copy_tile(tiles, first, end, k0, out, HEIGHT: tl.constexpr, DEPTH: tl.constexpr):
    made = load_rows(tiles, first, end, k0, HEIGHT, DEPTH)
    row, k = tl.arange(0, HEIGHT), tl.arange(0, DEPTH)
    tl.store(out + row[:, None] * DEPTH + k[None, :], made)


SPANS = [(0, 1), (5, 9), (5, 21), (5, 22), (3, 96), (96, 96), (96, 90)]  # first row and end of an expert's


@pytest.mark.parametrize("height", [BLOCK_M, 32, 16])
def test_a_tile_holds_its_experts_rows_and_zeros(
    height: int, dtype: torch.dtype, device: torch.device
) -> None:
    """Whatever other experts' rows hold, which follow in the same buffer; a tail may begin past the end."""
    depth = BLOCK_K
    every = Stream(4, "rows").normal((200, 2 * WIDTH)).to(dtype).to(device)[::2]
    for first, end in SPANS:
        rows = torch.full_like(every.repeat_interleave(2, 0), float("nan"))[::2]
        rows[first:end] = every[first:end]
        out = torch.full((height, depth), float("nan"), dtype=dtype, device=device)
        [given] = row_tiles(rows, [height], depth)
        copy_tile[(1,)](given, first, end, WIDTH, out, HEIGHT=height, DEPTH=depth)
        expected, count = torch.zeros_like(out), min(max(end - first, 0), height)
        expected[:count] = every[first : first + count, WIDTH : WIDTH + depth]
        assert torch.equal(out, expected), (first, end)


@triton.jit
def write_tile(
    rows,
    tiles,
    first,
    end,
    given,
    COLUMNS: tl.constexpr,
    HEIGHT: tl.constexpr,
    BLOCK_N: tl.constexpr,
    SWAPPED: tl.constexpr,
    PARTS: tl.constexpr,
):
    row, column = tl.arange(0, HEIGHT)[:, None], tl.arange(0, BLOCK_N)[None, :]
    for n_block in range(2):
        tile = tl.load(given + row * 2 * BLOCK_N + n_block * BLOCK_N + column)
        if SWAPPED:
            tile = tl.trans(tile)
        store((rows, tiles), tile, (0, first, end, n_block), COLUMNS, HEIGHT, BLOCK_N, SWAPPED, PARTS)


# By pointers or descriptors, turned or not, in how many parts.
WAYS = {
    "pointers": (False, False, 1),
    "turned": (False, True, 1),
    "whole": (True, False, 1),
    "halves": (True, False, 2),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_tile_is_written_to_its_experts_rows_alone(
    way: str, dtype: torch.dtype, device: torch.device
) -> None:
    """Rounded to the rows' dtype; columns past the last are left out."""
    described, turned, parts = WAYS[way]
    height, block_n = BLOCK_M, 64
    given = Stream(5, "tile").normal((height, 2 * block_n)).float().to(device)
    for first, end in SPANS:
        rows = torch.full((200, WIDTH), -1.0, dtype=dtype, device=device)
        expected, count = rows.clone(), min(max(end - first, 0), height)
        [tiles] = row_tiles(rows if described else None, [height], block_n // parts)
        write_tile[(1,)](
            rows,
            tiles,
            first,
            end,
            given,
            COLUMNS=WIDTH,
            HEIGHT=height,
            BLOCK_N=block_n,
            SWAPPED=turned,
            PARTS=parts,
        )
        expected[first : first + count] = given[:count, :WIDTH].to(dtype)
        assert torch.equal(rows, expected), (first, end)


def test_without_rows_there_are_no_tiles_of_them(device: torch.device) -> None:
    """And none of a height that a launch does not ask for."""
    assert row_tiles(None, [16, 0], 32) == [None] * 2
    made = row_tiles(ALIGNED.to(device), [BLOCK_M, 0, 16], 32)
    assert [each and each.block_shape for each in made] == [[1, 1, BLOCK_M, 32], None, [1, 1, 16, 32]]


ALIGNED = torch.zeros(3, 64, dtype=torch.float16)
DESCRIBABLE = {
    "contiguous": (ALIGNED, True),
    "every second row": (ALIGNED[::2], True),
    "from the second row": (ALIGNED[1:], True),
    "rows from 16 bytes on": (ALIGNED[:, 8:], True),
    "rows from 2 bytes on": (ALIGNED[:, 1:], False),
    "rows from 8 bytes on": (ALIGNED[:, 4:], False),
    "every second column": (ALIGNED[:, ::2], False),
    "columns as rows": (ALIGNED.T, False),
    "rows of 8 bytes": (torch.zeros(3, 4, dtype=torch.float16), False),
    "rows of 24 bytes": (torch.zeros(3, 12, dtype=torch.float16), False),
    "experts": (torch.zeros(2, 3, 8), True),
    "rows of 32 bytes": (torch.zeros(3, 8), True),
    "rows 40 bytes apart": (torch.zeros(200, dtype=torch.float16).as_strided((2, 3, 8), (64, 20, 1)), False),
    "experts 40 bytes apart": (
        torch.zeros(100, dtype=torch.float16).as_strided((2, 3, 8), (20, 8, 1)),
        False,
    ),
    "rows under 2**34 apart": (torch.empty_strided((2, 8), (2**34 - 8, 1), device="meta"), True),
    "rows 2**34 apart": (torch.empty_strided((2, 8), (2**34, 1), device="meta"), False),
}


@pytest.mark.parametrize("name", DESCRIBABLE)
def test_descriptors_are_made_of_what_they_can_read(name: str) -> None:
    """Rows side by side, everything at multiples of 16 bytes, none further apart than 2**34."""
    tensor, expected = DESCRIBABLE[name]
    assert describable(tensor) == expected
    assert describable(ALIGNED, tensor) == describable(tensor, ALIGNED) == expected


@pytest.mark.parametrize("flags", ["wide", "wide and persistent"])
@pytest.mark.parametrize(("hidden", "intermediate"), [(4, 4), (12, 12), (12, 16), (16, 12)])
def test_a_wide_launch_reads_and_writes_short_rows_by_pointers(
    hidden: int, intermediate: int, flags: str, device: torch.device
) -> None:
    launch, ids = launch_with(flags, 0, torch.bfloat16), torch.tensor([[1], [3], [1]])
    check_exact(4, ids, torch.bfloat16, device, launch, hidden=hidden, intermediate=intermediate)


def launch_with(flags: str, tail: int, dtype: torch.dtype, skewed: bool = False) -> Launch:
    """The largest shipped configuration with small tiles and these flags; skewed: and others, of half the
    height and without a tail, for skewed schedules.
    """
    base = shipped(dtype, family())[-1][0]
    plain = {name: Tile.__dataclass_fields__[name].default for name in OPTIONAL}
    sizes = dict(block_m=BLOCK_M, block_n=BLOCK_N, block_k=BLOCK_K)
    changed = {
        stage: dataclasses.replace(getattr(base, stage), **{**plain, **sizes, **FLAGS[flags]})
        for stage in ("gate_up", "down")
    }
    made = dataclasses.replace(base, **changed, block_m=BLOCK_M, tail=tail, skewed=None)
    if not skewed:
        return made
    lower = {stage: dataclasses.replace(tile, block_m=BLOCK_M // 2) for stage, tile in changed.items()}
    return dataclasses.replace(made, skewed=dataclasses.replace(made, **lower, block_m=BLOCK_M // 2, tail=0))


def laid_out(tensor: torch.Tensor, layout: str) -> torch.Tensor:
    if layout == "plain":
        return tensor
    return torch.empty(len(tensor), 2 * WIDTH, dtype=tensor.dtype, device=tensor.device)[:, ::2].copy_(tensor)
