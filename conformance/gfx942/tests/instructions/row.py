"""One instruction, what the registers and the memory hold before it, and what they must hold after it."""

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.gfx942.checker import Findings
from conformance.gfx942.code import compile_program
from conformance.gfx942.lds import OLD, LocalShare
from conformance.gfx942.machine import Machine
from conformance.gfx942.memory import Memory, Region
from conformance.gfx942.program import Program, _Reader
from conformance.gfx942.run import Runner
from conformance.gfx942.state import EXEC, LANES, NAMED, SCALARS, Group

MEMORY = 0x7F00_1234_5000  # the address of the first byte of a row's memory
FULL = (1 << LANES) - 1
PARTIAL = (
    0xF0F0_A5C3_8001_7FFE  # some lanes of every row, bank and quad, neither the first nor the last of all
)
ROWS, ACCUMULATORS = 96, 64
SEEN_SCC = 101  # the scalar register that takes SCC at the end of a row that tells it


@dataclass(frozen=True)
class NaN:
    """Any NaN of the given width, alone in its register or registers."""

    bits: int

    def __eq__(self, other: object) -> bool:
        sizes = {
            16: (0x7C00, 0x3FF, 16),
            32: (0x7F800000, 0x7FFFFF, 32),
            64: (0x7FF << 52, (1 << 52) - 1, 64),
        }
        exponent, fraction, width = sizes[self.bits]
        return (
            isinstance(other, int)
            and other >> width == 0
            and other & exponent == exponent
            and other & fraction != 0
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Lanes:
    """A mask by lanes: lane k has bit k % n. Lanes outside EXEC give 0."""

    bits: Sequence[int]

    def whole(self, exec_mask: int) -> int:
        return sum(1 << k for k in range(LANES) if self.bits[k % len(self.bits)] and exec_mask >> k & 1)


Value = int | NaN | Lanes | Sequence[Any] | Callable[[int], Any]


@dataclass
class Row:
    """`text`: one or more lines of assembly. Registers by name, "v0", "v[0:1]", "s4", "vcc", "scc"; a vector
    register's value is a number for all lanes, a list whose k-th is lane k's (repeated), or a function of the
    lane. Lanes outside EXEC must keep what they held, whatever number or list says; a function is taken at
    its word where `exec` is given.

    `exec` None: run with all lanes, and again with some. `memory` and `lds` are words
    before, `memory_after` and `lds_after` those that have changed; `reported`: what the checker must say of
    it. What a row does not name must stay as it was.
    """

    text: str
    before: dict[str, Value] = field(default_factory=dict)
    after: dict[str, Value] = field(default_factory=dict)
    exec: int | None = None
    memory: Sequence[int] = ()
    memory_after: dict[int, int] = field(default_factory=dict)
    lds: Sequence[int] = ()
    lds_after: dict[int, int] = field(default_factory=dict)
    reported: str = ""

    @property
    def name(self) -> str:
        return self.text.strip().replace("\n", "; ")

    @property
    def opcodes(self) -> set[str]:
        return {each.opcode for each in _read(self.text).instructions}

    def masks(self) -> list[int]:
        if self.exec is not None:
            return [self.exec]
        return (
            [FULL, PARTIAL]
            if self.text.startswith(("v_", "ds_read", "global_load", "buffer_load"))
            else [FULL]
        )

    @property
    def wavefronts(self) -> int:
        """Two that do the same, or one where the second would do again what is to be done once."""
        return 1 if self.memory_after or self.lds_after else 2

    def check(self) -> None:
        """Raises AssertionError naming the register, lane and values that differ."""
        for mask in self.masks():
            self._check(mask)

    def _check(self, mask: int) -> None:
        vector, scalar = _registers(self.before, mask, self.wavefronts)
        start_vector, start_scalar = vector.copy(), scalar.copy()
        scc = bool(self.before.get("scc", 0))
        memory = np.array(self.memory, np.uint32).view(np.uint8).copy()
        share = LocalShare(1, 4 * len(self.lds), self.wavefronts)
        share.bytes[: 4 * len(self.lds)] = np.array(self.lds, np.uint32).view(np.uint8)
        share.writer[: 4 * len(self.lds)] = OLD
        text = self.text + (
            f"\ns_cselect_b32 s{SEEN_SCC}, 1, 0" if "scc" in self.after else ""
        )  # who reads SCC gets it
        group, findings = execute(text, vector, scalar, scc, memory, share)
        found = "; ".join(each.what for each in findings.made.values())
        assert (self.reported in found) if self.reported else not found, (
            f"{self.name}: the checker says {found!r}"
        )
        _compare(self, mask, group, start_vector, start_scalar, scc)
        _words(f"{self.name}: memory", memory.view(np.uint32), self.memory, self.memory_after)
        _words(
            f"{self.name}: LDS", share.bytes[: 4 * len(self.lds)].view(np.uint32), self.lds, self.lds_after
        )


def f16(*values: float) -> Any:
    """Bits of float16 numbers: one, or a list."""
    return _bits("<e", "<H", values)


def f32(*values: float) -> Any:
    return _bits("<f", "<I", values)


def f64(*values: float) -> Any:
    return _bits("<d", "<Q", values)


def _bits(real: str, whole: str, values: tuple[float, ...]) -> Any:
    made = [struct.unpack(whole, struct.pack(real, each))[0] for each in values]
    return made[0] if len(made) == 1 else made


def u32(*values: int) -> Any:
    """Integers of either sign as 32 bits: one, or a list."""
    made = [each & 0xFFFFFFFF for each in values]
    return made[0] if len(made) == 1 else made


def u64(*values: int) -> Any:
    made = [each & 0xFFFFFFFFFFFFFFFF for each in values]
    return made[0] if len(made) == 1 else made


def _read(text: str) -> _Reader:
    reader = _Reader("row")
    for line in text.strip().splitlines():
        reader.line(line)
    return reader


def execute(
    text: str, vector: np.ndarray, scalar: np.ndarray, scc: Any, memory: np.ndarray, share: LocalShare
) -> tuple[Group, Findings]:
    """Runs lines of assembly on registers, which it writes to: uint32[register, wavefront, 64] and [register,
    wavefront, 1].
    """
    reader = _read(text + "\ns_waitcnt vmcnt(0) lgkmcnt(0)\ns_endpgm")
    descriptor = {"next_free_vgpr": ROWS - 4, "accum_offset": ACCUMULATORS}
    code = compile_program(Program("row", "gfx942", reader.instructions, reader.labels, descriptor, []))
    number = vector.shape[1]
    findings = Findings("row", (1, 1, 1), number)
    regions = [Region.of_bytes("memory", MEMORY, memory)] if memory.size else []
    scratch = Region.of_bytes("scratch", 1 << 40, np.full(64 * LANES * number, 0xA5, np.uint8))
    machine = Machine(Memory([*regions, scratch]), share, findings, scratch, 64)
    machine.symbols = {"table": MEMORY}
    waves = np.arange(number)
    ids = {
        "wave": waves[:, None],
        "workgroup": np.zeros(number, int),
        "slot": waves.astype(np.uint8)[:, None],
        "lds_base": np.zeros((number, 1), int),
        "local": waves[:, None],
    }
    group = Group(vector, scalar, np.full((number, 1), scc), ids)
    with np.errstate(all="ignore"):
        Runner(code, machine, number, None, None).run(group)
    return group, findings


def _registers(before: dict[str, Value], mask: int, wavefronts: int) -> tuple[np.ndarray, np.ndarray]:
    """Every register holds something of its own, and those of the row what it says."""
    shape = (ROWS, wavefronts, LANES)
    vector = (0x9E3779B9 * (1 + np.arange(np.prod(shape), dtype=np.uint64))).astype(np.uint32).reshape(shape)
    scalar = (0x85EBCA6B * (1 + np.arange(SCALARS * wavefronts, dtype=np.uint64))).astype(np.uint32)
    scalar = scalar.reshape(SCALARS, wavefronts, 1)
    for name, value in {"exec": mask, **before}.items():
        if name == "scc":
            continue
        space, rows = locate(name)
        target = vector if space == "v" else scalar
        for place, row in enumerate(rows):
            lanes = LANES if space == "v" else 1
            target[row] = [(_of_lane(value, lane) >> 32 * place) & 0xFFFFFFFF for lane in range(lanes)]
    return vector, scalar


def locate(name: str) -> tuple[str, range]:
    """("v" or "s", rows) of a register's name."""
    if name in NAMED:
        return "s", range(NAMED[name], NAMED[name] + (2 if name in ("exec", "vcc") else 1))
    match = re.fullmatch(r"([vas])(?:(\d+)|\[(\d+):(\d+)\])", name)
    assert match, f"{name} is no register"
    first = int(match[2] or match[3]) + (ACCUMULATORS if match[1] == "a" else 0)
    return "s" if match[1] == "s" else "v", range(
        first, first + (int(match[4]) - int(match[3]) + 1 if match[3] else 1)
    )


def _of_lane(value: Value, lane: int) -> Any:
    if isinstance(value, Lanes):
        return value.whole(FULL)
    if callable(value):
        return value(lane)
    return value[lane % len(value)] if isinstance(value, Sequence) else value


def _compare(row: Row, mask: int, g: Group, vector: np.ndarray, scalar: np.ndarray, scc: bool) -> None:
    expected_vector: dict[int, None] = {}
    expected_scalar: dict[int, None] = {SEEN_SCC: None} if "scc" in row.after else {}
    for name, value in row.after.items():
        if name == "scc":
            continue
        space, rows = locate(name)
        (expected_vector if space == "v" else expected_scalar).update(dict.fromkeys(rows))
        lanes = LANES if space == "v" else 1
        for wave in range(g.width):
            for lane in range(lanes):
                want = value.whole(mask) if isinstance(value, Lanes) else _of_lane(value, lane)
                source, start = (g.vector, vector) if space == "v" else (g.scalar, scalar)
                if space == "v" and not mask >> lane & 1 and not (row.exec is not None and callable(value)):
                    want = sum(int(start[each, wave, lane]) << 32 * k for k, each in enumerate(rows))
                got = sum(int(source[each, wave, lane]) << 32 * k for k, each in enumerate(rows))
                shown = want if isinstance(want, NaN) else hex(want)
                assert want == got, (
                    f"{row.name}: {name} of lane {lane}, wavefront {wave}, is {got:#x}; expected {shown}"
                    f" (EXEC {mask:#x})"
                )
    for kind, now, start, named in (
        ("v", g.vector, vector, expected_vector),
        ("s", g.scalar, scalar, expected_scalar),
    ):
        others = [each for each in range(len(start)) if each not in named]
        changed = [each for each in others if not np.array_equal(now[each], start[each])]
        assert not changed, f"{row.name}: {kind}{changed[0]} has changed"
    if "scc" in row.after:
        assert (g.s[SEEN_SCC] == row.after["scc"]).all(), f"{row.name}: SCC is {int(g.s[SEEN_SCC][0, 0])}"
    else:
        assert (np.asarray(g.scc) == scc).all(), f"{row.name}: SCC has changed"
    assert np.array_equal(g.exec, _unpacked(g.scalar)), f"{row.name}: EXEC's lanes are not its bits"


def _unpacked(scalar: np.ndarray) -> np.ndarray:
    whole = [
        int(low) | int(high) << 32
        for low, high in zip(scalar[EXEC][:, 0], scalar[EXEC + 1][:, 0], strict=True)
    ]
    return np.array([[bool(each >> lane & 1) for lane in range(LANES)] for each in whole])


def _words(what: str, now: np.ndarray, before: Sequence[int], after: dict[int, int]) -> None:
    wanted = [after.get(place, word) for place, word in enumerate(before)]
    wrong = [place for place, word in enumerate(wanted) if int(now[place]) != word]
    assert not wrong, f"{what}[{wrong[0]}] is {int(now[wrong[0]]):#x}; expected {wanted[wrong[0]]:#x}"
