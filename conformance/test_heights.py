"""An expert's last rows take the lowest tile that holds them; no result shows which one it was."""

import pytest
import torch
import triton
import triton.language as tl

from tritonmoe import down, gate_up

BLOCK_M, SHORT, TAIL = 64, 16, 8
MOST = 2 * BLOCK_M  # rows of the expert whose first tile is looked at


@triton.jit
def note_down(
    place,
    problem,
    tiles,
    tail_tiles,
    made_tiles,
    PRECISION: tl.constexpr,
    HEIGHT: tl.constexpr,
    TAIL: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SWAPPED: tl.constexpr,
    WIDE: tl.constexpr,
    EVEN_K: tl.constexpr,
):
    """In place of a tile's product: its height and tail."""
    _, _, rows, _ = place
    tensors, _, _ = problem
    tl.store(tensors[0] + 2 * (rows - 1), HEIGHT)
    tl.store(tensors[0] + 2 * (rows - 1) + 1, TAIL)


@triton.jit
def note_gate_up(
    place,
    problem,
    tiles,
    tail_tiles,
    made_tiles,
    TOP_K: tl.constexpr,
    IN_ORDER: tl.constexpr,
    PRECISION: tl.constexpr,
    HEIGHT: tl.constexpr,
    TAIL: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    SWAPPED: tl.constexpr,
    WIDE: tl.constexpr,
    EVEN_K: tl.constexpr,
):
    note_down(
        place, problem, tiles, tail_tiles, None, "", HEIGHT, TAIL, BLOCK_N, BLOCK_K, SWAPPED, WIDE, EVEN_K
    )


@triton.jit
def down_kernel(noted, BLOCK_M: tl.constexpr, SHORT: tl.constexpr, TAIL: tl.constexpr):
    rows = tl.program_id(0) + 1
    problem = ((noted, None, None, None), (32, 32), (1, 1, 1, 1, 1))
    tiles, plan = (None, None, None, None), (None, None, None, rows, 1)
    down._work(0, problem, plan, tiles, 1, 0, "", BLOCK_M, 32, 32, 1, SHORT, TAIL, False, False, True)


@triton.jit
def gate_up_kernel(noted, BLOCK_M: tl.constexpr, SHORT: tl.constexpr, TAIL: tl.constexpr):
    rows = tl.program_id(0) + 1
    problem = ((noted, None, None, None, None), (32, 32), (1, 1, 1, 1, 1))
    tiles, plan = (None, None, None, None), (None, None, None, rows, 1)
    gate_up._work(
        0, problem, plan, tiles, 1, 1, 0, True, "", BLOCK_M, 32, 32, 1, SHORT, TAIL, False, False, True
    )


@pytest.mark.parametrize("tail", [0, TAIL])
@pytest.mark.parametrize("short", [0, SHORT])
@pytest.mark.parametrize(
    ("product", "note", "kernel"), [(down, note_down, down_kernel), (gate_up, note_gate_up, gate_up_kernel)]
)
def test_rows_take_the_lowest_tile_that_holds_them(
    product, note, kernel, short: int, tail: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows past a tile ride along with it as long as there are at most `tail`."""
    monkeypatch.setattr(product, "_tile", note)
    monkeypatch.setattr(product._work, "hash", None, raising=False)  # it depends on _tile
    noted = torch.full((MOST, 2), -1, dtype=torch.int32, device=device)
    kernel[(MOST,)](noted, BLOCK_M, short, tail)
    for rows, found in enumerate(noted.tolist(), 1):
        if short and rows <= short + tail:
            expected = [short, tail]
        elif BLOCK_M < rows <= BLOCK_M + tail:
            expected = [BLOCK_M, tail]
        else:
            expected = [BLOCK_M, 0]
        assert found == expected, f"{rows} rows"
