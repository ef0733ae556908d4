"""Correct layers that are not ours: other orders of summation, other tiles, other formulas. All must pass.

Each is an edit of a copy of the sources: text that occurs exactly once, and what replaces it. What the
contract forbids is no correct variant: weights before the down product, sums that are no fused multiply-adds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

EXPERTS = ("gate_up", "down", "layer")


@dataclass(frozen=True)
class Edit:
    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Variant:
    """A correct layer, by its edits, and the stages of the matrix where it differs from ours."""

    name: str
    stages: tuple[str, ...]
    edits: tuple[Edit, ...]


def sources(variant: Variant, folder: Path) -> Mapping[str, str]:
    """The edited files of the layer in `folder`. Raises ValueError where an edit fits not exactly once."""
    texts: dict[str, str] = {}
    for edit in variant.edits:
        text = texts.get(edit.file) or (folder / edit.file).read_text()
        if text.count(edit.old) != 1:
            raise ValueError(
                f"variant {variant.name!r}: {edit.file} holds this {text.count(edit.old)} times, expected "
                f"once; write the edit anew for the sources as they are:\n{edit.old}"
            )
        texts[edit.file] = text.replace(edit.old, edit.new)
    return texts


def _reversed(file: str, k: str, pointers: dict[str, str]) -> tuple[Edit, ...]:
    """The loop over K from its last block to its first. pointers: condition to "name:stride name:stride"."""
    start = f"    last = ({k} - 1) // BLOCK_K * BLOCK_K\n"
    for condition, names in pointers.items():
        start += f"    if {condition}:\n"
        for each in names.split():
            name, stride = each.split(":")
            start += f"        {name} += tl.cast(last, tl.int64) * {stride}\n"
    loop = f"    for k0 in range(0, {k}, BLOCK_K):\n"
    turned = f"    for back in range(0, {k}, BLOCK_K):\n        k0 = last - back\n"
    steps = [each.split(":") for names in pointers.values() for each in names.split()]
    return (
        Edit(file, loop, start + turned),
        *(Edit(file, f"{name} += k_step * {s}\n", f"{name} -= k_step * {s}\n") for name, s in steps),
    )


# Two zeros, not one by two names: Triton 3.7 takes a name that is swapped with another of the same value for
# one that a loop does not change, and drops half of the sum.
_GATE_UP_SUM = "    if WIDE:\n        gate, up = tl.split("

VARIANTS = (
    Variant(
        "gate and up: K from its end to its beginning",
        ("gate_up", "layer"),
        _reversed(
            "gate_up.py",
            "hidden",
            {
                "not (WIDE and IN_ORDER)": "x_ptrs:stride_xh",
                "TAIL and not (WIDE and IN_ORDER)": "tail_ptrs:stride_xh",
                "not WIDE": "gate_ptrs:stride_wh up_ptrs:stride_wh",
            },
        ),
    ),
    Variant(
        "down: K from its end to its beginning",
        ("down", "layer"),
        _reversed(
            "down.py",
            "intermediate",
            {"not WIDE": "a_ptrs:stride_ai w_ptrs:stride_wi", "TAIL and not WIDE": "tail_ptrs:stride_ai"},
        ),
    ),
    Variant(
        "gate and up: K split in two, the halves added in a fixed order",
        ("gate_up", "layer"),
        (
            Edit(
                "gate_up.py",
                "        up = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)\n",
                "        up = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)\n"
                "        other_gate = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)\n"
                "        other_up = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)\n",
            ),
            Edit(
                "gate_up.py",
                "            if TAIL:\n                tail_gate = tl.dot(",
                "            gate, other_gate = other_gate, gate\n"
                "            up, other_up = other_up, up\n"
                "            if TAIL:\n                tail_gate = tl.dot(",
            ),
            Edit(
                "gate_up.py",
                _GATE_UP_SUM,
                "    if not WIDE:\n        gate, up = gate + other_gate, up + other_up\n" + _GATE_UP_SUM,
            ),
        ),
    ),
    Variant(
        "down: K split in two, the halves added in a fixed order",
        ("down", "layer"),
        (
            Edit(
                "down.py",
                "    acc = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)\n",
                "    acc = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)\n"
                "    other = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)\n",
            ),
            Edit(
                "down.py",
                "        if TAIL:\n            tail_acc = tl.dot(",
                "        acc, other = other, acc\n        if TAIL:\n            tail_acc = tl.dot(",
            ),
            Edit(
                "down.py",
                "    store((partial, partial_tiles), acc,",
                "    acc += other\n    store((partial, partial_tiles), acc,",
            ),
        ),
    ),
    Variant(
        "the last tile of a group first",
        EXPERTS,
        (
            Edit(
                "tiles.py",
                "group_first + in_group % group_tiles",
                "group_first + group_tiles - 1 - in_group % group_tiles",
            ),
        ),
    ),
    Variant(
        "column blocks from the right",
        EXPERTS,
        (
            Edit(
                "tiles.py",
                "    return expert, row, end, in_group // group_tiles\n",
                "    return expert, row, end, n_blocks - 1 - in_group // group_tiles\n",
            ),
        ),
    ),
    Variant(
        "SiLU by exp2",
        ("gate_up", "layer"),
        (Edit("gate_up.py", "tl.exp(-gate)", "tl.exp2(gate * -1.4426950408889634)"),),
    ),
    Variant(
        "SiLU as the gate times its sigmoid",
        ("gate_up", "layer"),
        (
            Edit(
                "gate_up.py", "gate / (1.0 + tl.exp(-gate)) * up", "gate * (1.0 / (1.0 + tl.exp(-gate))) * up"
            ),
        ),
    ),
    Variant(
        "scores by exp2",
        ("router", "layer"),
        (
            Edit("router.py", "1.0 + tl.exp(-logit)", "1.0 + tl.exp2(logit * -1.4426950408889634)"),
            Edit(
                "router.py",
                "tl.exp(logit - tl.max(logit, axis=1)[:, None])",
                "tl.exp2((logit - tl.max(logit, axis=1)[:, None]) * 1.4426950408889634)",
            ),
        ),
    ),
    Variant(
        "the shared gate by exp2",
        ("combine", "layer"),
        (
            Edit(
                "combine.py",
                "tl.exp(-tl.load(shared_logit + token))",
                "tl.exp2(tl.load(shared_logit + token) * -1.4426950408889634)",
            ),
        ),
    ),
    Variant(
        "more slots placed by each program of the schedule",
        ("permute", "layer"),
        (Edit("schedule.py", "MINE = 16 ", "MINE = 64 "),),
    ),
)
