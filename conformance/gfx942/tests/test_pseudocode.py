"""Opcodes agree, bit for bit, with the pseudocode of AMD's manual, which the tinygrad wheel carries."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from conformance.gfx942 import opcodes
from conformance.gfx942.lds import LocalShare
from conformance.gfx942.opcodes import packed
from conformance.gfx942.opcodes import scalar as scalar_opcodes
from conformance.gfx942.scalar import PAIR
from conformance.gfx942.state import EXEC, LANES, SCALARS, VCC

from .instructions.pseudocode import compile_pseudocode
from .instructions.pseudocode_values import Unsupported, typed
from .instructions.row import FULL, execute

manual = pytest.importorskip(
    "tinygrad.runtime.autogen.amd.cdna.str_pcode", reason="the manual's text comes with tinygrad"
)

LEAST = 450  # opcodes that the translation must reach
SCALAR_CASES, WAVEFRONTS = 320, 5
INTEGER_EDGES = [
    0,
    1,
    2,
    7,
    15,
    16,
    31,
    32,
    33,
    63,
    64,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x10000,
    0x7FFFFF,
    0x800000,
    0xFFFFFF,
]
INTEGER_EDGES += [
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
    0x0C0B0A0908070605,
]
FLOAT_EDGES = [
    0.0,
    -0.0,
    0.5,
    -0.5,
    1.0,
    -1.0,
    1.5,
    2.5,
    -2.5,
    3.0,
    100.25,
    1e-40,
    -1e-40,
    65504.0,
    3e38,
    float("inf"),
    float("-inf"),
    float("nan"),
]


def tiny_and_negative(given: list[float], result: float) -> bool:
    return -(2.0**-10) < given[0] < 0 and result == 1


# Where this emulator does not do what the text says: for which operands and results of it, and why. All
# others must agree.
DECIDED: dict[str, tuple[Callable[[list[float], float], bool], str]] = {
    "v_fract": (tiny_and_negative, "below 1 always, as LLVM relies on (AMDGPUCodeGenPrepare: fract)"),
    "v_rndne": (
        lambda given, result: result == 0,
        "the sign of a zero is kept, as LLVM relies on for roundeven",
    ),
    "v_frexp_exp": (
        lambda given, result: abs(given[0]) < SMALLEST[given[0].width],
        "the text's exponent() is a field; LLVM takes the instruction for frexp, with denormals and zeros",
    ),
    "v_div_fixup_f": (
        lambda given, result: np.isnan(given[0]),
        "steps that overflow leave a NaN for an infinite quotient; the text's rule for it can never apply",
    ),
}
# The text leaves open whether sums are rounded on the way; here each is, and denormals are flushed (LLVM).
OPEN = {"v_dot2_f32_f16", "v_dot2c_f32_f16"}
SMALLEST = {16: 2.0**-14, 32: 2.0**-126, 64: 2.0**-1022}


@cache
def texts() -> dict[str, str]:
    """Pseudocode by opcode, without the encoding's suffix."""
    return {re.sub(r"_e(32|64)$", "", opcode.name.lower()): text for opcode, text in manual.PCODE.items()}


@cache
def meaning(name: str) -> Callable[..., dict[str, Any]]:
    """Raises Unsupported for what the translation does not reach."""
    if name not in texts():
        raise Unsupported(name)
    return compile_pseudocode(texts()[name], meaning)


@dataclass(frozen=True)
class Form:
    """How an opcode is spelled: kinds of its sources and of its result ("mask": a bit a lane, "": SCC
    alone).
    """

    sources: tuple[str, ...]
    result: str
    reads_result: bool = False
    carries: str = ""  # operands behind the result (its carry), and behind the sources (a mask)


def form(name: str) -> Form | None:
    if name in opcodes.VECTOR:
        op = opcodes.VECTOR[name]
        return Form(op.sources[:-1] if op.accumulate else op.sources, op.result, op.accumulate or op.preserve)
    if name in scalar_opcodes.TABLE:
        scalar = scalar_opcodes.TABLE[name]
        kinds = tuple("u64" if kind == PAIR else kind for kind in scalar.sources)
        return Form(
            kinds[1:] if scalar.tied else kinds,
            "u64" if scalar.result == PAIR else scalar.result,
            scalar.tied,
        )
    if name in packed.TABLE:
        number = 3 if re.search(r"\bS2\b", texts()[name]) else 2
        kind = {"f32": "2f32", "f16": "2f16"}.get(name.rsplit("_", 1)[1], "u32")
        return Form((kind,) * number, kind, name == "v_pk_fmac_f16")
    if "saveexec" in name or "wrexec" in name:
        return Form(("u64",), "u64")
    if name.endswith("_co_u32"):
        return Form(
            ("u32", "u32"), "u32", carries="vcc, vcc" if re.match(r"v_(addc|subb|subbrev)_", name) else "vcc,"
        )
    return {
        "v_cndmask_b32": Form(("u32", "u32"), "u32", carries=", vcc"),
        "v_mad_u64_u32": Form(("u32", "u32", "u64"), "u64", carries="vcc,"),
        "v_mad_i64_i32": Form(("i32", "i32", "i64"), "i64", carries="vcc,"),
        "v_mbcnt_lo_u32_b32": Form(("u32", "u32"), "u32"),
        "v_mbcnt_hi_u32_b32": Form(("u32", "u32"), "u32"),
    }.get(name)


def reachable() -> list[str]:
    found = []
    for name in sorted(opcodes.implemented()):
        try:
            meaning(name)
        except Unsupported:
            continue
        if form(name) is not None and name not in OPEN:
            found.append(name)
    return found


def test_translation_reaches_most_opcodes() -> None:
    assert len(reachable()) >= LEAST


@pytest.mark.parametrize("name", reachable())
def test_opcode_agrees_with_the_manual(name: str) -> None:
    spelled, does = form(name), meaning(name)
    assert spelled is not None
    before, after = (run_scalar if name.startswith("s_") else run_vector)(name, spelled)
    for case in range(len(before["S0"])):
        given = {register: int(values[case]) for register, values in before.items()}
        lane = given.pop("lane")
        expected = does(**given, laneId=lane)
        for what, value in outcome(name, spelled, expected, lane).items():
            got = int(after[what][case])
            kind = spelled.result if what == "D0" else ""
            assert same(kind, value, got) or decided(name, spelled, given, value), (
                f"{name}: {what} of { ({k: hex(v) for k, v in given.items()}) }, lane {lane},"
                f" is {got:#x}; the manual says {value:#x}"
            )


def outcome(name: str, spelled: Form, expected: dict[str, Any], lane: int) -> dict[str, int]:
    """What the pseudocode changed, as far as it is one lane's."""
    if spelled.result == "mask":
        found = {"D0": int(expected["D0"]) >> lane & 1}
    elif spelled.result:
        found = {"D0": int(expected["D0"]) & (1 << width(spelled.result)) - 1}
    else:
        found = {}
    if name.startswith("s_"):
        return (
            found
            | {"SCC": int(expected["SCC"])}
            | ({"EXEC": int(expected["EXEC"])} if "exec" in name else {})
        )
    if spelled.carries.startswith("vcc"):
        carry = expected["D1"] if "mad" in name else int(expected["VCC"]) >> lane
        found["VCC"] = int(carry) & 1
    return found


def same(kind: str, expected: int, got: int) -> bool:
    """Equal, or NaNs both, in each number of a result."""
    if expected == got:
        return True
    match = re.fullmatch(r"(2?)f(\d+)", kind)
    if not match:
        return False
    bits = int(match[2])
    for place in range(2 if match[1] else 1):
        first, second = (typed(value >> bits * place, "f", bits) for value in (expected, got))
        if first.bits != second.bits and not (np.isnan(first) and np.isnan(second)):
            return False
    return True


def decided(name: str, spelled: Form, given: dict[str, int], value: int) -> bool:
    numbers = [real(given[f"S{place}"], kind) for place, kind in enumerate(spelled.sources)]
    return any(
        name.startswith(each) and where(numbers, real(value, spelled.result))
        for each, (where, _) in DECIDED.items()
    )


def real(value: int, kind: str) -> Any:
    return typed(value, "f", width(kind)) if kind[0] == "f" else value


def width(kind: str) -> int:
    return {"2f32": 64, "2f16": 32, "mask": 1}.get(kind) or int(kind[1:])


def operands(kind: str, number: int, random: np.random.Generator) -> np.ndarray:
    """Edges, and random numbers of that kind, as uint64."""
    bits = width(kind)
    if kind[0] == "2":
        low, high = (operands(kind[1:], number, random) for _ in range(2))
        return low | high << np.uint64(bits // 2)
    made = random.integers(0, 1 << 64, number, np.uint64, endpoint=False) >> np.uint64(64 - bits)
    few = made >> np.uint64(bits // 2)
    made = np.where(random.random(number) < 0.25, few, made)
    if kind[0] == "f":
        with np.errstate(all="ignore"):
            reals = random.normal(size=number).astype(f"f{bits // 8}").view(f"u{bits // 8}").astype(np.uint64)
            edges = np.array(FLOAT_EDGES).astype(f"f{bits // 8}").view(f"u{bits // 8}").astype(np.uint64)
        made = np.where(random.random(number) < 0.4, reals, made)
    else:
        edges = np.array(INTEGER_EDGES, np.uint64) & np.uint64((1 << bits) - 1)
    return np.where(random.random(number) < 0.4, random.choice(edges, number), made)


def run_vector(name: str, spelled: Form) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Registers before and after, one case a lane."""
    random = np.random.default_rng(sum(map(ord, name)))
    number = WAVEFRONTS * LANES
    vector = random.integers(0, 1 << 32, (96, WAVEFRONTS, LANES), np.uint64).astype(np.uint32)
    scalar = np.zeros((SCALARS, WAVEFRONTS, 1), np.uint32)
    scalar[EXEC : EXEC + 2] = 0xFFFFFFFF
    scalar[VCC : VCC + 2] = random.integers(0, 1 << 32, (2, WAVEFRONTS, 1), np.uint64)
    before = {"lane": np.tile(np.arange(LANES), WAVEFRONTS)}
    for place, kind in enumerate(spelled.sources):
        before[f"S{place}"] = operands(kind, number, random)
        write(vector, 2 + 2 * place, before[f"S{place}"])
    if spelled.reads_result:
        before["D0"] = operands(
            spelled.result if spelled.reads_result and width(spelled.result) > 16 else "u32", number, random
        )
        write(vector, 0, before["D0"])
    before["VCC"] = np.repeat(read(scalar, VCC), LANES)
    result = "s[10:11]" if spelled.result == "mask" else named("v", 0, width(spelled.result))
    sources = ", ".join(named("v", 2 + 2 * place, width(kind)) for place, kind in enumerate(spelled.sources))
    carry, _, behind = spelled.carries.partition(",")
    text = (
        f"{name} {result}, "
        + (f"{carry}, " if carry else "")
        + sources
        + (f", {behind.strip()}" if behind.strip() else "")
    )
    group, _ = execute(text, vector, scalar, False, np.zeros(0, np.uint8), LocalShare(1, 0, WAVEFRONTS))
    after = {"VCC": unpacked(read(group.scalar, VCC))}
    if spelled.result == "mask":
        after["D0"] = unpacked(read(group.scalar, 10))
    else:
        after["D0"] = read(group.vector, 0) & np.uint64((1 << width(spelled.result)) - 1)
    return before, after


def run_scalar(name: str, spelled: Form) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """One case a wavefront."""
    random = np.random.default_rng(sum(map(ord, name)))
    number = SCALAR_CASES
    vector = np.zeros((96, number, LANES), np.uint32)
    scalar = np.zeros((SCALARS, number, 1), np.uint32)
    before = {
        "lane": np.zeros(number, int),
        "SCC": random.integers(0, 2, number),
        "EXEC": operands("u64", number, random),
    }
    write(scalar, EXEC, before["EXEC"])
    for place, kind in enumerate(spelled.sources):
        before[f"S{place}"] = operands(kind, number, random)
        write(scalar, 2 + 2 * place, before[f"S{place}"])
    if spelled.reads_result:
        before["D0"] = operands(spelled.result, number, random)
        write(scalar, 0, before["D0"])
    given = [named("s", 2 + 2 * place, width(kind)) for place, kind in enumerate(spelled.sources)]
    result = [named("s", 0, width(spelled.result))] if spelled.result else []
    text = f"{name} {', '.join(result + given)}\ns_cselect_b32 s20, 1, 0"
    scc = before["SCC"].astype(bool)[:, None]
    group, _ = execute(text, vector, scalar, scc, np.zeros(0, np.uint8), LocalShare(1, 0, number))
    after = {"SCC": group.scalar[20].reshape(-1), "EXEC": read(group.scalar, EXEC)}
    after["D0"] = read(group.scalar, 0) & np.uint64((1 << width(spelled.result or "u64")) - 1)
    return before, after


def named(space: str, first: int, bits: int) -> str:
    return f"{space}[{first}:{first + 1}]" if bits == 64 else f"{space}{first}"


def write(registers: np.ndarray, row: int, values: np.ndarray) -> None:
    shape = registers.shape[1:]
    registers[row] = values.astype(np.uint32).reshape(shape)
    registers[row + 1] = (values >> np.uint64(32)).astype(np.uint32).reshape(shape)


def read(registers: np.ndarray, row: int) -> np.ndarray:
    return (registers[row].astype(np.uint64) | registers[row + 1].astype(np.uint64) << np.uint64(32)).reshape(
        -1
    )


def unpacked(masks: np.ndarray) -> np.ndarray:
    assert FULL == (1 << LANES) - 1
    return np.array([int(mask) >> lane & 1 for mask in masks for lane in range(LANES)])
