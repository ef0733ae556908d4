"""Where the products of gate and up become the activation. SwiGLU: Shazeer, arXiv 2002.05202."""

import triton
import triton.language as tl

from .tiles import store_rows


@triton.jit
def store_swiglu(
    made,
    gate,
    up,
    place,
    intermediate,
    HEIGHT: tl.constexpr,
    BLOCK_N: tl.constexpr,
    SWAPPED: tl.constexpr,
):
    """SwiGLU of HEIGHT rows in float32, rounded once; gate and up are [HEIGHT, BLOCK_N], turned if SWAPPED.

    made: the activation, and one of its `row_tiles`, never with SWAPPED, or None to write by pointers.
    """
    activation, tiles = made
    _, first_row, last_row, n_block = place
    swiglu = (gate / (1.0 + tl.exp(-gate)) * up).to(activation.dtype.element_ty)
    if tiles is not None:
        store_rows(tiles, swiglu, first_row, last_row, n_block * BLOCK_N, HEIGHT, BLOCK_N)
    else:
        row = first_row + tl.arange(0, HEIGHT)
        column = n_block * BLOCK_N + tl.arange(0, BLOCK_N)
        if SWAPPED:
            swiglu = tl.trans(swiglu)
        out = activation + row.to(tl.int64)[:, None] * intermediate + column[None, :]
        tl.store(out, swiglu, mask=(row < last_row)[:, None] & (column < intermediate)[None, :])
