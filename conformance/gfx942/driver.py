"""A Triton driver that compiles for an AMD chip and executes the code here. Works with Triton 3.6 to 3.9."""

import re
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase
from triton.runtime import driver
from triton.runtime.cache import get_cache_manager

from .checker import Finding
from .chips import CHIPS, Chip
from .code import Code, compile_program
from .counts import Counts
from .launch import Options, launch
from .lines import Lines, untraced
from .memory import Region
from .program import Argument, ProgramError, parse
from .state import LANES

FORMATS = {
    "i1": "b",
    "i8": "b",
    "i16": "h",
    "i32": "i",
    "i64": "q",
    "u1": "B",
    "u8": "B",
    "u16": "H",
    "u32": "I",
    "u64": "Q",
    "fp16": "e",
    "fp32": "f",
    "f32": "f",
    "fp64": "d",
}
PLAIN = bool | int | float | str


class EmulatedDriver(DriverBase):
    """Launches run on the CPU, on CPU tensors; `edit` changes the assembly of a kernel before it is read."""

    def __init__(
        self, arch: str, options: Options, counts: Counts | None, edit: Callable[[str], str] | None
    ) -> None:
        super().__init__()
        if arch not in CHIPS:
            raise ValueError(f"{arch!r} cannot be emulated; expected one of {', '.join(CHIPS)}")
        self.chip, self.options, self.counts, self.edit = CHIPS[arch], options, counts, edit
        self.findings: list[Finding] = []
        self.lines: Lines | None = None
        self.utils = _Utilities(self.chip)
        self.launcher_cls = _Launcher

    @classmethod
    def is_active(cls) -> bool:
        return True

    def map_python_to_cpp_type(self, ty: str) -> str:
        return ty

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("hip", self.chip.arch, LANES)

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")

    def get_current_device(self) -> int:
        # Triton keeps compiled kernels per device number: each chip has its own, which no real device has.
        return 1000 + list(CHIPS).index(self.chip.arch)

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_device_interface(self) -> Any:
        return torch.cpu

    def get_benchmarker(self) -> Any:
        raise NotImplementedError("an emulator has no time worth measuring; use counts")


class _Utilities:
    def __init__(self, chip: Chip) -> None:
        self.chip = chip

    def load_binary(self, name: str, binary: bytes, shared: int, device: int) -> tuple:
        """module, function, registers, spills, most threads of a workgroup; the code is read by the
        launcher.
        """
        return None, None, 0, 0, LANES * self.chip.wavefronts

    def get_device_properties(self, device: int) -> dict[str, Any]:
        return {
            "max_shared_mem": self.chip.lds,
            "multiprocessor_count": self.chip.compute_units,
            "warpSize": LANES,
            "arch": self.chip.arch,
            "max_num_regs": self.chip.vector_registers,
            "sm_clock_rate": 0,
            "mem_clock_rate": 0,
            "mem_bus_width": 0,
            "cooperativeLaunch": 1,
        }


class _Launcher:
    """Packs arguments as the kernel's metadata says, and runs the grid as the active driver is set up.

    Triton keeps launchers with its compiled kernels, so one may serve several drivers in turn.
    """

    def __init__(self, source: Any, metadata: Any) -> None:
        self.metadata = metadata
        self.names = list(getattr(getattr(source, "fn", None), "arg_names", []))
        self.constants = {
            self.names[path[0]]: value
            for path, value in getattr(source, "constants", {}).items()
            if len(path) == 1 and path[0] < len(self.names) and isinstance(value, PLAIN | None)
        }
        self.signature = [
            (self.names[index] if index < len(self.names) else f"argument {index}", kind)
            for index, kind in enumerate(source.signature.values())
        ]

    def __call__(self, grid_x: int, grid_y: int, grid_z: int, stream: Any, function: Any, *rest: Any) -> None:
        # packed metadata, launch metadata, the two hooks, then the arguments.
        launch_metadata, enter, leave, *arguments = rest[1:]
        active = driver.active
        if enter is not None:
            enter(launch_metadata)
        with untraced():
            code = _code(self.metadata.hash, self.metadata.name, active.edit, active.chip)
            if grid_x * grid_y * grid_z > 0:
                self._run(active, code, (grid_x, grid_y, grid_z), arguments)
        if leave is not None:
            leave(launch_metadata)

    def _run(
        self, active: EmulatedDriver, code: Code, grid: tuple[int, int, int], arguments: list[Any]
    ) -> None:
        values: list[tuple[str, str, Any]] = []
        for (name, kind), value in zip(self.signature, arguments, strict=True):
            _flatten(name, kind, value, values)
        regions = _regions(values)
        program, programs = code.program, grid[0] * grid[1] * grid[2]
        for scratch in ("global_scratch", "profile_scratch"):
            size = getattr(self.metadata, f"{scratch}_size", 0) * programs
            store = torch.full((max(size, 1),), 0xA5, dtype=torch.uint8)
            values.append((scratch, "*i8", store if size else None))
            if size:
                regions.append(Region.of_tensor(scratch.replace("_", " "), store))
        segment = bytearray(program.flag("kernarg_size", 0))
        slots = [each for each in program.arguments if not each.kind.startswith("hidden")]
        for slot, (name, kind, value) in zip(slots, values, strict=False):
            packed = _pack(name, kind, value)
            segment[slot.offset : slot.offset + slot.size] = packed[: slot.size].ljust(slot.size, b"\0")
        _hidden(segment, program.arguments, grid, self.metadata)
        found = launch(
            code,
            active.chip,
            grid,
            self.metadata.num_warps,
            self.metadata.shared,
            bytes(segment),
            regions,
            active.options,
            active.counts,
        )
        active.findings += found
        if active.lines is not None:
            active.lines.add(self.metadata.hash, self.metadata.name, self.constants, code)


def _hidden(segment: bytearray, slots: list[Argument], grid: tuple[int, int, int], metadata: Any) -> None:
    """What the hardware's queue tells a kernel of its launch: the grid, in workgroups, and the size of
    those.
    """
    told = {"hidden_grid_dims": 3, "hidden_dynamic_lds_size": metadata.shared}
    for axis, blocks, threads in zip(
        "xyz", grid, (metadata.num_warps * metadata.warp_size, 1, 1), strict=True
    ):
        told |= {f"hidden_block_count_{axis}": blocks, f"hidden_group_size_{axis}": threads}
    for slot in slots:
        if slot.kind in told:
            segment[slot.offset : slot.offset + slot.size] = told[slot.kind].to_bytes(slot.size, "little")


@lru_cache(maxsize=96)  # a kernel made ready takes one to four megabytes, and some ten milliseconds to make
def _code(key: str, name: str, edit: Callable[[str], str] | None, chip: Chip) -> Code:
    """A compiled kernel by Triton's key, from the assembly that Triton keeps beside the binary."""
    path = get_cache_manager(key).get_file(f"{name[:150]}.amdgcn")
    if path is None:
        raise ProgramError(
            f"Triton kept no assembly of {name}; unset TRITON_STORE_BINARY_ONLY, clear its cache"
        )
    text = Path(path).read_text()
    return load(edit(text) if edit else text, chip)


def load(text: str, chip: Chip) -> Code:
    """Assembly ready to run. Raises ProgramError naming what is not implemented, or over the chip's
    limits.
    """
    code = compile_program(parse(text))
    flag = code.program.flag
    for what, used, limit in (
        ("vector registers", flag("next_free_vgpr"), chip.vector_registers),
        ("scalar registers", flag("next_free_sgpr"), chip.scalar_registers),
        ("bytes of LDS", flag("group_segment_fixed_size"), chip.lds),
    ):
        if used > limit:
            raise ProgramError(f"{code.program.name} uses {used} {what}; {chip.name} has {limit}")
    return code


def _flatten(name: str, kind: Any, value: Any, values: list[tuple[str, str, Any]]) -> None:
    """The arguments that reach the kernel: no constants, tuples taken apart, tensor descriptors as their
    parts.
    """
    if isinstance(kind, (tuple, list)):
        for number, (each, part) in enumerate(zip(kind, value, strict=True)):
            _flatten(f"{name}[{number}]", each, part, values)
    elif kind == "constexpr":
        return
    elif kind.startswith("tensordesc"):
        element = re.match(r"tensordesc<([^\[>]*)\[", kind)
        values.append((name, f"*{element[1] if element else 'i8'}", value.base))
        extents = [(f"{name}.shape", "i64", each) for each in value.shape]
        strides = [(f"{name}.strides", "i64", each) for each in value.strides]
        values += extents + strides
        values.append((f"{name}.padding", "i1", getattr(value, "padding", "zero") == "nan"))
        if hasattr(value, "round_f32_to_tf32"):
            values.append((f"{name}.rounding", "i1", value.round_f32_to_tf32))
        values += [(each, "i32", extent) for each, _, extent in extents] + strides
    else:
        values.append((name, kind, value))


def _regions(values: list[tuple[str, str, Any]]) -> list[Region]:
    regions = []
    for name, kind, value in values:
        if kind.startswith("*") and hasattr(value, "data_ptr"):
            tensor = value if isinstance(value, torch.Tensor) else value.base
            if tensor.device.type != "cpu":
                raise ValueError(f"{name} lies on {tensor.device}; an emulated kernel takes CPU tensors")
            if tensor.numel():
                regions.append(Region.of_tensor(name, tensor))
    return regions


def _pack(name: str, kind: str, value: Any) -> bytes:
    if kind.startswith("*"):
        address = value.data_ptr() if hasattr(value, "data_ptr") else int(value or 0)
        return struct.pack("<Q", address)
    if kind == "bf16":
        return struct.pack("<f", value)[2:]
    if kind not in FORMATS:
        raise ProgramError(f"argument {name} is of type {kind}, which is not implemented")
    form = FORMATS[kind]
    if form in "efd":
        return struct.pack("<" + form, value)
    size = struct.calcsize("<" + form)
    return (int(value) & ((1 << 8 * size) - 1)).to_bytes(size, "little")
