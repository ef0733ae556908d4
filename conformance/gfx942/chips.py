"""The chips whose code is executed, and their limits (AMD's ISA manuals and CDNA white papers)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """`lds` in bytes a workgroup, `vector_registers` of 32 bits a lane, architectural and accumulation
    together.
    """

    arch: str
    name: str
    lds: int
    vector_registers: int = 512
    scalar_registers: int = 102
    wavefronts: int = 16  # of one workgroup
    compute_units: int = 304


CHIPS = {
    "gfx942": Chip("gfx942", "AMD Instinct MI300X", 64 << 10),
    "gfx950": Chip("gfx950", "AMD Instinct MI355X", 160 << 10, compute_units=256),
    "gfx90a": Chip("gfx90a", "AMD Instinct MI250X", 64 << 10, compute_units=208),
}
