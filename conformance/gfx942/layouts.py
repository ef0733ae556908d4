"""Where the elements of matrices lie in the registers of a matrix instruction (MFMA).

From the AMD Instinct MI300 ISA manual, "General input and output layout". With `parts` groups of lanes
sharing the k axis, K_L = k / parts of a row's k values lie in one lane:

    A[block, i, k]  item k % K_L of lane i + m * (block + blocks * (k // K_L)); B alike with its column
    D[block, i, j]  item i % H + H * (i // (H * M_I) + G * (block // B_I))
                    of lane j + n * (i // H % M_I + M_I * (block % B_I))

H = 4 rows (1 in float64) lie in consecutive items of a lane, M_I row groups and B_I blocks beside each other
in one item, G row groups and B_O blocks in further items.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Registers = NDArray[np.uint32]  # [register, wavefront, 64]
Array = NDArray[np.generic]
BITS = {"f64": 64, "f32": 32, "xf32": 32, "f16": 16, "bf16": 16, "i8": 8, "fp8": 8, "bf8": 8}


@dataclass(frozen=True)
class Shape:
    """A matrix instruction: `blocks` products of [m, k] by [k, n]; `a` and `b` are the operands' types, `c`
    the type of addend and result.
    """

    name: str
    m: int
    n: int
    k: int
    blocks: int
    a: str
    b: str
    c: str

    @cached_property
    def parts(self) -> int:
        """How many groups of lanes share the k axis."""
        return 64 // (self.m * self.blocks)

    @cached_property
    def a_registers(self) -> int:
        return self.k // self.parts * BITS[self.a] // 32

    @cached_property
    def b_registers(self) -> int:
        return self.k // self.parts * BITS[self.b] // 32

    @cached_property
    def c_registers(self) -> int:
        return self.m * self.n * self.blocks // 64 * (2 if self.c == "f64" else 1)

    @cached_property
    def tiling(self) -> tuple[int, int, int, int, int]:
        """B_O, G, H, B_I, M_I."""
        height = 1 if self.c == "f64" else 4
        beside = -(-64 * height // (self.m * self.n))
        rows = 64 // beside // self.n
        return self.blocks // beside, self.m // (height * rows), height, beside, rows


def rows(shape: Shape, registers: Registers, wide: bool) -> Array:
    """A's bits as [k, B_O, G, H, W, B_I, M_I, 1]; `wide`: the wavefronts W last, [k, B_O, G, H, B_I, M_I,
    1, W].
    """
    outer, groups, height, beside, across = shape.tiling
    items = _items(registers, BITS[shape.a])
    count, waves, _, per = items.shape
    split = items.reshape(count, waves, shape.parts, outer, beside, groups, across, height, per)
    if wide:
        return split.transpose(2, 0, 8, 3, 5, 7, 4, 6, 1).reshape(
            shape.k, outer, groups, height, beside, across, 1, waves
        )
    return split.transpose(2, 0, 8, 3, 5, 7, 1, 4, 6).reshape(
        shape.k, outer, groups, height, waves, beside, across, 1
    )


def columns(shape: Shape, registers: Registers, wide: bool) -> Array:
    """B's bits as [k, B_O, 1, 1, W, B_I, 1, n], or [k, B_O, 1, 1, B_I, 1, n, W]."""
    outer, _, _, beside, _ = shape.tiling
    items = _items(registers, BITS[shape.b])
    count, waves, _, per = items.shape
    split = items.reshape(count, waves, shape.parts, outer, beside, shape.n, per)
    if wide:
        return split.transpose(2, 0, 6, 3, 4, 5, 1).reshape(shape.k, outer, 1, 1, beside, 1, shape.n, waves)
    return split.transpose(2, 0, 6, 3, 1, 4, 5).reshape(shape.k, outer, 1, 1, waves, beside, 1, shape.n)


def addend(shape: Shape, registers: Registers, wide: bool) -> Array:
    """C's bits as [B_O, G, H, W, B_I, M_I, n], or [B_O, G, H, B_I, M_I, n, W]; a fresh array."""
    outer, groups, height, beside, across = shape.tiling
    items = _items(registers, 64)[..., 0] if shape.c == "f64" else registers
    split = items.reshape(outer, groups, height, items.shape[1], beside, across, shape.n)
    return np.array(split.transpose(0, 1, 2, 4, 5, 6, 3) if wide else split, order="C")


def store(shape: Shape, result: Array, out: Registers, wide: bool) -> None:
    """Writes D's bits, arranged as `addend` gives C's, into registers [register, W, 64]."""
    plain = result.transpose(0, 1, 2, 6, 3, 4, 5) if wide else result
    if shape.c == "f64":
        bits = plain.reshape(-1, out.shape[1], 64)
        out[0::2], out[1::2] = bits.astype(np.uint32), (bits >> np.uint64(32)).astype(np.uint32)
    else:
        out.reshape(plain.shape)[...] = plain


def broadcast_a(registers: Registers, size: int, block: int) -> Registers:
    """CBSZ and ABID: the block of 64 >> size lanes numbered `block` serves all the others."""
    split = registers.reshape(*registers.shape[:2], 1 << size, 64 >> size)
    return np.broadcast_to(split[:, :, block : block + 1], split.shape).reshape(registers.shape)


def permute_b(registers: Registers, pattern: int) -> Registers:
    """BLGP: 1, 2 broadcast a half; 3 rotates 16 lanes left; 4 to 7 broadcast a quarter."""
    lane = np.arange(64)
    if pattern < 3:
        source = lane % 32 + 32 * (pattern - 1)
    else:
        source = (lane + 16) % 64 if pattern == 3 else lane % 16 + 16 * (pattern - 4)
    return registers[:, :, source]


def _items(registers: Registers, bits: int) -> Array:
    """[items or registers, W, 64, elements of a register], an element's bits each."""
    if bits == 64:
        high = registers[1::2].astype(np.uint64) << np.uint64(32)
        return (high | registers[0::2])[..., None]
    kinds = {8: np.uint8, 16: np.uint16, 32: np.uint32}
    if registers.strides[-1] != 4:
        registers = np.ascontiguousarray(registers)
    return registers.view(kinds[bits]).reshape(*registers.shape, 32 // bits)


def _shapes() -> dict[str, Shape]:
    """Names as LLVM writes them for gfx942, and below them the older spellings that it also reads."""
    many = {(32, 4): 2, (16, 4): 4, (4, 4): 16}  # (m, k): blocks
    sizes: dict[tuple[str, str, str], dict[tuple[int, int], int]] = {
        ("f32", "f32", "f32"): {(32, 1): 2, (16, 1): 4, (4, 1): 16, (32, 2): 1, (16, 4): 1},
        ("f32", "xf32", "xf32"): {(32, 4): 1, (16, 8): 1},
        ("f32", "f16", "f16"): many | {(32, 8): 1, (16, 16): 1} | {(32, 16): 1, (16, 32): 1},
        ("f32", "bf16", "bf16"): many | {(32, 8): 1, (16, 16): 1} | {(32, 16): 1, (16, 32): 1},
        ("i32", "i8", "i8"): many | {(32, 16): 1, (16, 32): 1} | {(32, 32): 1, (16, 64): 1},
        ("f64", "f64", "f64"): {(16, 4): 1, (4, 4): 4},
    }
    sizes |= {("f32", a, b): {(32, 16): 1, (16, 32): 1} for a in ("fp8", "bf8") for b in ("fp8", "bf8")}
    shapes = {}
    for (c, a, b), each in sizes.items():
        types = f"{a}_{b}" if a in ("fp8", "bf8") else a
        for (m, k), blocks in each.items():
            parts = f"_{blocks}b" if blocks > 1 else ""
            name = f"v_mfma_{c}_{m}x{m}x{k}{parts}_{types}"
            shapes[name] = shape = Shape(name, m, m, k, blocks, a, b, c)
            if types == a and a != "xf32" and (a != "bf16" or m * k <= 256):
                shapes[f"v_mfma_{c}_{m}x{m}x{k}{types}" + "_1k" * (a == "bf16")] = shape
    return shapes


SHAPES = _shapes()
