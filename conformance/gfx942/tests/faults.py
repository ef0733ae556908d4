"""Kernels with one fault each, and their clean twins: the same with other arguments, or as compiled.

The line that a fault must be reported at ends in a comment `# at: <name>`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
import triton.language as tl

from conformance.gfx942 import poison

Edit = Callable[[str], str]
Launch = Callable[[], None]
BLOCK, COLUMNS = 256, 64


@dataclass(frozen=True)
class Fault:
    """One row: what the finding says and the line it names.

    Either `faulty` is another launch than `clean`, or `edit` changes the assembly that `clean` launches.
    Triton takes the kernel before version `until`.
    """

    name: str
    says: str
    line: str
    clean: Launch
    faulty: Launch | None = None
    edit: Edit | None = None
    until: tuple[int, int] | None = None

    def fits(self, version: str) -> bool:
        """Whether this version of Triton takes the kernel."""
        major, minor = (int(part) for part in version.split(".")[:2])
        return self.until is None or (major, minor) < self.until


@triton.jit
def copy_rows(x, out, stride, out_stride, COLUMNS: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, COLUMNS)
    value = tl.load(x + row * stride + at)  # at: row load
    tl.store(out + row * out_stride + at, value)  # at: row store


@triton.jit
def copy_tail(x, out, count, MASK_LOAD: tl.constexpr, MASK_STORE: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + at, mask=at < count if MASK_LOAD else None)  # at: tail load
    tl.store(out + at, value, mask=at < count if MASK_STORE else None)  # at: tail store


@triton.jit
def copy_shifted(x, out, shift, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at + shift))  # at: shifted


@triton.jit
def transpose(x, out, stride_row, stride_column, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    row, column = tl.arange(0, HEIGHT)[:, None], tl.arange(0, WIDTH)[None, :]
    value = tl.load(x + row * stride_row + column * stride_column)  # at: strides
    tl.store(out + column * HEIGHT + row, value)


@triton.jit
def far_row(x, out, row, stride, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    start = row.to(tl.int64) * stride if WIDE else row * stride
    tl.store(out + tl.arange(0, BLOCK), tl.load(x + start + tl.arange(0, BLOCK)))  # at: far row


@triton.jit
def from_address(address, out, BLOCK: tl.constexpr):
    x = address.to(tl.pointer_type(tl.float32))
    tl.store(out + tl.arange(0, BLOCK), tl.load(x + tl.arange(0, BLOCK)))  # at: address


@triton.jit
def from_address_of(x, address, out, BLOCK: tl.constexpr):
    """As from_address; that the tensor is an argument too makes its memory the launch's."""
    x = address.to(tl.pointer_type(tl.float32))
    tl.store(out + tl.arange(0, BLOCK), tl.load(x + tl.arange(0, BLOCK)))  # at: known address


@triton.jit
def gather(x, index, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + tl.load(index + at)))  # at: gather


@triton.jit
def scatter(x, index, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + tl.load(index + at), tl.load(x + at))  # at: scatter


@triton.jit
def counts(index, out, BLOCK: tl.constexpr):
    tl.atomic_add(out + tl.load(index + tl.arange(0, BLOCK)), 1)  # at: atomic


@triton.jit
def block(x, out, rows, CHECK: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    place = tl.make_block_ptr(x, (rows, WIDTH), (WIDTH, 1), (0, 0), (HEIGHT, WIDTH), (1, 0))
    value = tl.load(place, boundary_check=CHECK)  # at: block
    tl.store(out + tl.arange(0, HEIGHT)[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :], value)


@triton.jit
def described(x, out, rows, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    descriptor = tl.make_tensor_descriptor(x, (rows, WIDTH), (WIDTH, 1), (HEIGHT, WIDTH))
    value = descriptor.load([0, 0])  # at: descriptor
    tl.store(out + tl.arange(0, HEIGHT)[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :], value)


@triton.jit
def chosen(x, out, count, CHOOSE: tl.constexpr, BLOCK: tl.constexpr):
    """Loads all of the block, poison among it; tl.where may drop that."""
    at = tl.arange(0, BLOCK)
    value = tl.load(x + at) * 2 + 1
    value = tl.where(at < count, value, 0) if CHOOSE else value
    tl.store(out + at, value)  # at: chosen


@triton.jit
def row_sums(x, out, count, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    value = tl.load(x + tl.program_id(0) * BLOCK + at, mask=at < count, other=0)
    total = tl.sum(value, 0)  # at: sum
    tl.store(out + tl.program_id(0), total)  # at: sum store


@triton.jit
def spread(x, out, MASK: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """Rows summed; only the first half of them is stored, if MASK."""
    row, column = tl.arange(0, HEIGHT), tl.arange(0, WIDTH)
    total = tl.sum(tl.load(x + row[:, None] * WIDTH + column[None, :]), 1)
    tl.store(out + row, total, mask=row < HEIGHT // 2 if MASK else None)  # at: spread


@triton.jit
def product(x, y, out, k, rows, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    row, column, inner = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :], tl.arange(0, K)
    a = tl.load(x + row * K + inner[None, :], mask=inner[None, :] < k, other=0)  # at: left
    b = tl.load(y + inner[:, None] * N + column, mask=inner[:, None] < k, other=0)  # at: right
    tl.store(out + row * N + column, tl.dot(a, b), mask=row < rows)  # at: product


@triton.jit
def accumulate(x, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.atomic_add(out + at, tl.load(x + at))  # at: accumulate


@triton.jit
def own_or_shared(out, OWN: tl.constexpr, BLOCK: tl.constexpr):
    at, program = tl.arange(0, BLOCK), tl.program_id(0)
    tl.store(out + program * OWN + at, at + program)  # at: programs


@triton.jit
def folded(x, out, LENGTH: tl.constexpr, BLOCK: tl.constexpr):
    """Elements that are LENGTH apart go to one address."""
    at = tl.arange(0, BLOCK)
    tl.store(out + at % LENGTH, tl.load(x + at))  # at: folded


@triton.jit
def turns(out, lock, WAIT: tl.constexpr, BLOCK: tl.constexpr):
    """Each program stores to the same place, in its turn if WAIT."""
    at = tl.arange(0, BLOCK)
    if WAIT:
        while tl.atomic_add(lock, 0) != tl.program_id(0):
            pass
    tl.store(out + at, at * 0 + tl.program_id(0))  # at: turns
    if WAIT:
        tl.debug_barrier()
        tl.atomic_add(lock, 1)


@triton.jit
def twice(x, out, BLOCK: tl.constexpr):
    """Stores forwards, then backwards over the other wavefronts' elements, with a barrier between."""
    at = tl.arange(0, BLOCK)
    value = tl.load(x + at)
    tl.store(out + at, value)
    tl.debug_barrier()
    tl.store(out + BLOCK - 1 - at, value)  # at: twice


@triton.jit
def together(x, out, BLOCK: tl.constexpr):
    """The wavefronts wait for each other at the end; they share nothing that this would protect."""
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at))
    tl.debug_barrier()  # at: together


def line_of(name: str) -> int:
    """The number of the line that ends in `# at: <name>`."""
    found = [
        number
        for number, line in enumerate(Path(__file__).read_text().splitlines(), 1)
        if line.endswith(f"# at: {name}")
    ]
    assert len(found) == 1, f"{len(found)} lines end in `# at: {name}`"
    return found[0]


# Edits of assembly. Each fails where there is nothing to edit; a negative `number` counts from the end.


def drop(pattern: str, number: int = 0) -> Edit:
    """Without the instruction that matches, the `number`-th of them."""
    return replace(pattern, "s_nop 0", number)


def replace(pattern: str, text: str, number: int = 0) -> Edit:
    """With `text` (it may refer to groups) in place of the `number`-th instruction that matches."""

    def edit(assembly: str) -> str:
        found = list(re.finditer(rf"^\t+{pattern}$", assembly, re.M))
        assert -len(found) <= number < len(found), f"{len(found)} instructions match {pattern!r}"
        match = found[number]
        return assembly[: match.start()] + "\t" + match.expand(text) + assembly[match.end() :]

    return edit


def skip_by_first_wavefront(pattern: str, number: int = 0) -> Edit:
    """The first wavefront branches over the instruction; at the entry v0 is the work-item's number."""

    def edit(assembly: str) -> str:
        assembly = re.sub(
            r"^(\.LBB0_0:.*)$", r"\1\n\tv_readfirstlane_b32 s90, v0", assembly, count=1, flags=re.M
        )
        around = r"s_cmp_eq_u32 s90, 0\n\ts_cbranch_scc1 .LSKIPPED\n\g<0>\n.LSKIPPED:"
        return replace(pattern, around, number)(assembly)

    return edit


def arange(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    size = 1
    for each in shape:
        size *= each
    return torch.arange(size, dtype=torch.float32).reshape(shape).to(dtype)


def launch(kernel: Any, grid: int, **arguments: Any) -> Launch:
    """A launch; an argument that is a function is called first, for a fresh tensor each time."""

    def run() -> None:
        given = {name: value() if callable(value) else value for name, value in arguments.items()}
        kernel[(grid,)](**given)

    return run


def fresh(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], torch.Tensor]:
    return lambda: torch.zeros(shape, dtype=dtype)


def poisoned(*shape: int, behind: int, dtype: torch.dtype = torch.float32) -> Callable[[], torch.Tensor]:
    """Whose last dimension is poison from `behind` on, in every row."""

    def make() -> torch.Tensor:
        tensor = arange(*shape, dtype=dtype)
        holes = torch.zeros(shape, dtype=torch.bool)
        holes[..., behind:] = True
        tensor.view(torch.uint8).reshape(*shape, dtype.itemsize)[holes] = 0xFF
        poison(tensor, holes[..., None].expand(*shape, dtype.itemsize).reshape(-1))
        return tensor

    return make


def all_poisoned(*shape: int, dtype: torch.dtype = torch.float32) -> Callable[[], torch.Tensor]:
    return poisoned(*shape, behind=0, dtype=dtype)


def huge() -> torch.Tensor:
    """Over 2**31 bytes; the system gives pages only where it is touched."""
    return torch.empty(2**31 + 4096, dtype=torch.int8)
