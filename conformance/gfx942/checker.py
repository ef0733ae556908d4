"""What the checker reports: each fault of a launch once, with the source line and who did it."""

from dataclasses import dataclass, field

import numpy as np

from .program import Instruction
from .races import Race, Stores
from .state import Group

Array = np.ndarray
SHOWN = 12


@dataclass
class Finding:
    """One fault: what, where in the source and in the code, and the first wavefront, lane and address it was
    seen at.
    """

    kernel: str
    what: str
    instruction: Instruction
    workgroup: tuple[int, int, int]
    wavefront: int
    lane: int | None
    address: int | None
    times: int = 1

    @property
    def lines(self) -> list[tuple[str, int]]:
        """(file, line) of the source, innermost first: the instruction's, then those of the calls that led
        there.
        """
        return self.instruction.location.lines

    def __str__(self) -> str:
        place = f"workgroup {self.workgroup}, wavefront {self.wavefront}"
        place += f", lane {self.lane}" if self.lane is not None else ""
        place += f", address {self.address:#x}" if self.address is not None else ""
        times = f"; {self.times} lanes in all" if self.times > 1 else ""
        where = f"  at {self.instruction.location}\n  by `{self.instruction}` in {place}{times}"
        return f"{self.kernel}: {self.what}\n{where}"


class EmulationError(RuntimeError):
    """A kernel did what it must not; `findings` holds every fault once, in the order seen."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        shown = "\n".join(str(each) for each in findings[:SHOWN])
        more = f"\nand {len(findings) - SHOWN} more" if len(findings) > SHOWN else ""
        super().__init__(f"{len(findings)} faults while {findings[0].kernel} ran:\n{shown}{more}")

    def __reduce__(self) -> tuple:
        return type(self), (self.findings,)


@dataclass
class Findings:
    """The faults of a launch, one for each instruction and kind."""

    kernel: str
    grid: tuple[int, int, int]
    wavefronts: int
    made: dict[tuple[int, str], Finding] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stores = Stores(self.wavefronts)
        self.running = self.grid[0] * self.grid[1] * self.grid[2] * self.wavefronts

    def ended(self, wavefronts: int) -> None:
        """So many wavefronts have run to their end. Races show when all of the launch have."""
        self.running -= wavefronts
        if not self.running:
            for race in self.stores.races():
                self._add_race(race)

    def add(
        self,
        g: Group,
        instruction: Instruction,
        what: str,
        lanes: Array | None = None,
        address: Array | None = None,
    ) -> None:
        """`lanes` bool[wavefront, lane] or bool[wavefront, 1]: where it happened (None: in the first
        wavefront).
        """
        hits = np.argwhere(lanes) if lanes is not None else np.zeros((1, 1), int)
        if not len(hits):
            return
        wave, lane = int(hits[0][0]), int(hits[0][-1])
        self._note(
            instruction,
            what,
            int(g.wave.reshape(-1)[wave]),
            lane if lanes is not None and lanes.shape[-1] > 1 else None,
            int(np.broadcast_to(address, lanes.shape)[tuple(hits[0])])
            if address is not None and lanes is not None
            else None,
            len(hits),
        )

    def _add_race(self, race: Race) -> None:
        (first, wave, lane), (second, other, other_lane) = race.stores
        if (first.time, wave) == (second.time, other):
            what = (
                f"lanes of one store have different values for one address (a race): the other is lane {lane}"
            )
        else:
            workgroup, slot = divmod(wave, self.wavefronts)
            who = f"workgroup {coordinates(workgroup, self.grid)}, wavefront {slot}"
            what = (
                "two wavefronts store different values to one address, and nothing orders them (a race):"
                f" the other is {who}, by `{first.instruction}` at {first.instruction.location}"
            )
        self._note(second.instruction, what, other, other_lane, race.address, 1)

    def _note(
        self,
        instruction: Instruction,
        what: str,
        wave: int,
        lane: int | None,
        address: int | None,
        times: int,
    ) -> None:
        key = (instruction.index, what.split(":")[0])
        if key in self.made:
            self.made[key].times += times
            return
        workgroup = coordinates(wave // self.wavefronts, self.grid)
        self.made[key] = Finding(
            self.kernel, what, instruction, workgroup, wave % self.wavefronts, lane, address, times
        )


def coordinates(workgroup: int, grid: tuple[int, int, int]) -> tuple[int, int, int]:
    return workgroup % grid[0], workgroup // grid[0] % grid[1], workgroup // (grid[0] * grid[1])
