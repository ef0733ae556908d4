"""Memory around a kernel: inputs laid out as drawn inside poison, outputs poisoned, guard bands around
both.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

GUARD = 256  # bytes on either side; keeps the alignment of what lies between
BAND, POISON = 0xA5, 0xFF  # 0xFF bytes are NaN in every floating-point dtype and -1 in every integer one
# Called with memory and, a byte each, what of it holds POISON: an emulator follows it into kernels' results.
on_poison: list[Callable[[torch.Tensor, torch.Tensor], None]] = []


class Guards:
    """All memory of one kernel run: places inputs, watches allocations, tells afterwards what was
    overwritten.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._watched: list[tuple[str, torch.Tensor, torch.Tensor, slice | None]] = []

    def place(self, name: str, tensor: torch.Tensor, layout: str) -> torch.Tensor:
        """A copy of a CPU tensor on the device, in the drawn layout, surrounded by NaN; no byte of it may
        change.
        """
        store, view = _laid_out(tensor, layout)
        store = store.to(self.device)
        if on_poison and layout in ("padded", "stepped"):
            holes = torch.ones_like(store)
            view(holes.view(tensor.dtype)).zero_()
            _tell(store, holes)
        self._watched.append((f"input {name}", store, store.clone(), None))
        return view(store.view(tensor.dtype))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Poisons every `torch.empty` of the kernels' host code and puts guard bands around it."""
        real = torch.empty
        torch.empty = self._allocate
        try:
            yield
        finally:
            torch.empty = real

    def violations(self) -> list[str]:
        """What was written where nothing may be written."""
        found = []
        for name, store, before, free in self._watched:
            if free is not None:
                before[free] = store[free]
            if not torch.equal(store, before):
                changed = (store != before).nonzero()
                found.append(
                    f"{name}: {len(changed)} bytes overwritten, first at byte {int(changed[0])} of its memory"
                )
        return found

    def _allocate(self, *size, **options) -> torch.Tensor:
        shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
        dtype = options.get("dtype") or torch.get_default_dtype()
        nbytes = math.prod(shape) * dtype.itemsize
        store = torch.full((nbytes + 2 * GUARD,), BAND, dtype=torch.uint8, device=options.get("device"))
        free = slice(GUARD, GUARD + nbytes)
        store[free] = POISON
        if on_poison:
            holes = torch.zeros_like(store)
            holes[free] = 1
            _tell(store, holes)
        self._watched.append((f"output {tuple(shape)}", store, store.clone(), free))
        return store[free].view(dtype).view(shape)


def _tell(store: torch.Tensor, holes: torch.Tensor) -> None:
    for listener in on_poison:
        listener(store, holes)


def _laid_out(
    tensor: torch.Tensor, layout: str
) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
    """Bytes that hold the tensor in a layout, and how to see it in them."""
    shape = tuple(tensor.shape)
    if tensor.ndim < 2 and layout in ("padded", "transposed", "stepped"):
        layout = "plain"
    stored = {
        "plain": shape,
        "offset": shape,
        "padded": (*shape[:-1], shape[-1] + 5),
        "transposed": (*shape[:-2], *shape[:-3:-1]),
        "stepped": (*shape[:-1], 2 * shape[-1]),
    }[layout]
    size, lead = math.prod(stored), GUARD // tensor.element_size() + (1 if layout == "offset" else 0)

    def view(flat: torch.Tensor) -> torch.Tensor:
        whole = flat[lead : lead + size].view(stored)
        if layout == "padded":
            return whole[..., : shape[-1]]
        if layout == "transposed":
            return whole.transpose(-1, -2)
        return whole[..., ::2] if layout == "stepped" else whole

    store = torch.full(((size + 2 * lead) * tensor.element_size(),), POISON, dtype=torch.uint8)
    view(store.view(tensor.dtype)).copy_(tensor)
    return store, view
