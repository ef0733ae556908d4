"""Runs wavefronts through a program: those at the same instruction together, apart where branches part them.

The group at the lowest instruction runs first, so that groups that parted meet again behind an if or a loop.
With a seed, workgroups, wavefronts and the choice of the next group are shuffled: a result that changes
depends on order.
"""

from functools import reduce
from operator import or_

import numpy as np

from .code import CODE, JUMPS, Code, registers
from .counts import Counts
from .flight import LDS, VECTOR, signature
from .machine import Machine
from .operands import scalar_writer
from .state import EXEC, VCC, Group
from .taint import follow_poison

PATIENCE = 20_000  # blocks that one group may run while others wait: then a spinning wavefront gives way
SPINS = 200  # the same where the blocks hold atomics, as those that wait for a lock do
LOADS = ("buffer_load", "global_load", "scratch_load", "ds_read")
LIMIT = 2_000_000  # blocks in all, some minutes of them: a kernel that is still running has no end


class Hang(RuntimeError):
    """A kernel does not end; the message tells where its wavefronts stand."""


class Runner:
    """One batch of whole workgroups from the first instruction to the last."""

    def __init__(
        self,
        code: Code,
        machine: Machine,
        wavefronts: int,
        counts: Counts | None,
        random: np.random.Generator | None,
        limit: int = LIMIT,
    ) -> None:
        self.limit = limit
        self.code, self.machine, self.wavefronts, self.counts = code, machine, wavefronts, counts
        self.random = random
        self.ready: list[Group] = []
        self.waiting: list[Group] = []
        self.turned, self.atomics, self.behind = 0, 0, False
        self.alive = 0
        self.alive_in: dict[int, int] = {}
        self.executed = np.zeros(len(code.steps), np.int64)

    def run(self, group: Group) -> None:
        group.machine = self.machine
        self.alive = group.width
        workgroups, sizes = np.unique(group.ids["workgroup"], return_counts=True)
        self.alive_in = dict(zip(workgroups.tolist(), sizes.tolist(), strict=True))
        self.ready = [group]
        turns = looked = 0
        while self.ready or self.waiting:
            if not self.ready:
                self._release()
            elif self.waiting and turns - looked > PATIENCE:
                looked = turns
                self._release_complete()
            turns += self._advance(self._next(turns))
            if turns > self.limit:
                places = ", ".join(str(self.code.instructions[each.pc].location) for each in self.ready[:3])
                raise Hang(f"{self.code.program.name} does not end; wavefronts stand at {places}")
        self.machine.findings.ended(group.width)
        self.code.reached |= self.executed > 0
        if self.counts is not None:
            self._count()

    def _next(self, turns: int) -> Group:
        """The group to run: the lowest, joined with those that stand at the same place with it."""
        if len(self.ready) == 1:
            return self.ready.pop()
        if self.random is not None:
            lowest = self.ready[int(self.random.integers(len(self.ready)))]
        elif self._from_behind(turns):
            lowest = max(self.ready, key=lambda each: each.pc)
        else:
            lowest = min(self.ready, key=lambda each: each.pc)
        together = [
            each for each in self.ready if each.pc == lowest.pc and signature(each) == signature(lowest)
        ]
        chosen = {id(each) for each in together}
        self.ready = [each for each in self.ready if id(each) not in chosen]
        if len(together) == 1:
            return lowest
        return Group.join(together)

    def _from_behind(self, turns: int) -> bool:
        """Whether the highest group has its turn: who holds a lock stands behind those that spin for it."""
        atomics = self.machine.atomics
        if turns - self.turned > (SPINS if atomics > self.atomics else PATIENCE):
            self.turned, self.atomics, self.behind = turns, atomics, not self.behind
        return self.behind

    def _advance(self, g: Group) -> int:
        """Runs a group, block after block, until it ends, waits, parts, or may meet another; returns the
        blocks.
        """
        code, blocks = self.code, 0
        while True:
            start, last = g.pc, code.block_end[g.pc]
            self._block(g, start, last)
            self.executed[start] += g.width
            blocks += 1
            again = self._leave(g, last)
            if again is None:
                return blocks
            if self.ready:
                self.ready.append(g)
                return blocks
            if blocks > PATIENCE and self.waiting:
                self.ready.append(g)
                return blocks
            if blocks > self.limit:
                self.ready.append(g)
                return blocks

    def _block(self, g: Group, start: int, last: int) -> None:
        steps, uses = self.code.steps, self.code.uses
        for index in range(start, last + 1):
            step = steps[index]
            if step is None:
                break
            if g.pending & uses[index]:
                self._early_use(g, index)
            step(g)
            if g.taint:
                follow_poison(g, self.code.instructions[index], self.code.operands[index])

    def _early_use(self, g: Group, index: int) -> None:
        instruction, given = self.code.instructions[index], self.code.operands[index]
        if instruction.opcode.startswith(LOADS):
            # Loads of one kind return in order: a later one may take a register that an earlier one fills.
            sources = registers(given[1:])
            counter = LDS if instruction.opcode.startswith("ds_") else VECTOR
            others = reduce(or_, (each.bits for each in g.queue if tuple(each.counters) != (counter,)), 0)
            if not g.pending & sources and not others & self.code.uses[index]:
                return
        self.machine.findings.add(
            g,
            self.code.instructions[index],
            "a register is used before an s_waitcnt has made its loaded value sure (the old value is used)",
        )

    def _leave(self, g: Group, last: int) -> bool | None:
        """What the block's last instruction does: True where the group goes on as it is."""
        instruction = self.code.instructions[last]
        name = instruction.opcode
        if self.code.steps[last] is not None:
            g.pc = last + 1
            return True
        if name == "s_branch":
            g.pc = self.code.program.labels[instruction.operands[0]]
            return True
        if name == "s_endpgm":
            self._end(g)
            return None
        if name == "s_barrier":
            g.pc = last + 1
            return self._barrier(g)
        if name in JUMPS:
            return self._jump(g, last)
        taken = _taken(name, g)
        target = self.code.program.labels[instruction.operands[0]]
        if taken.all():
            g.pc = target
        elif not taken.any():
            g.pc = last + 1
        else:
            for which, place in ((taken, target), (~taken, last + 1)):
                part = g.take(np.flatnonzero(which))
                part.pc = place
                self.ready.append(part)
            return None
        return True

    def _jump(self, g: Group, last: int) -> bool | None:
        """s_setpc_b64 and s_swappc_b64, which leaves the address behind it in its destination."""
        operands = self.code.operands[last]
        places = (g.s[operands[-1].row][:, 0].astype(np.int64) - (CODE & 0xFFFFFFFF)) // 4
        if len(operands) == 2:
            back = CODE + 4 * (last + 1)
            scalar_writer(operands[0], "u64")(g, np.array(back, np.uint64))
        targets = np.unique(places)
        if len(targets) == 1:
            g.pc = int(targets[0])
            return True
        for place in targets.tolist():
            part = g.take(np.flatnonzero(places == place))
            part.pc = place
            self.ready.append(part)
        return None

    def _end(self, g: Group) -> None:
        self.alive -= g.width
        for workgroup in g.ids["workgroup"].tolist():
            self.alive_in[workgroup] -= 1

    def _barrier(self, g: Group) -> bool | None:
        if g.width == self.alive and all(number in (0, self.wavefronts) for number in self.alive_in.values()):
            self.machine.barrier(None, None)
            return True
        workgroups, sizes = np.unique(g.ids["workgroup"], return_counts=True)
        if (sizes == self.wavefronts).all():
            self.machine.barrier(workgroups, np.unique(g.lds_base))
            return True
        self.waiting.append(g)
        return None

    def _release(self) -> None:
        """Nobody can run: the barriers whose workgroups are all there let go; the others are reported."""
        arrived: dict[int, int] = {}
        for g in self.waiting:
            for workgroup in g.ids["workgroup"].tolist():
                arrived[workgroup] = arrived.get(workgroup, 0) + 1
        for g in self.waiting:
            short = np.array([arrived[each] < self.wavefronts for each in g.ids["workgroup"].tolist()])
            if short.any():
                barrier = self.code.instructions[g.pc - 1]
                self.machine.findings.add(
                    g, barrier, "a barrier that some wavefronts of the workgroup never reach", short[:, None]
                )
        together = [
            np.concatenate([np.unique(g.ids[name]) for g in self.waiting])
            for name in ("workgroup", "lds_base")
        ]
        self.machine.barrier(*together)
        self.ready, self.waiting = self.waiting, []

    def _release_complete(self) -> None:
        """Workgroups that stand at a barrier in several groups, all of them there, while others spin."""
        numbers, arrived = np.unique(
            np.concatenate([g.ids["workgroup"] for g in self.waiting]), return_counts=True
        )
        complete = numbers[arrived == self.wavefronts]
        if not complete.size:
            return
        bases, kept = [], []
        for g in self.waiting:
            there = np.isin(g.ids["workgroup"], complete)
            bases.append(g.lds_base[there].reshape(-1))
            for which, where in ((there, self.ready), (~there, kept)):
                if which.any():
                    part = g if which.all() else g.take(np.flatnonzero(which))
                    where.append(part)
        self.waiting = kept
        self.machine.barrier(complete, np.unique(np.concatenate(bases)))

    def _count(self) -> None:
        assert self.counts is not None
        for start in np.flatnonzero(self.executed).tolist():
            for index in range(start, self.code.block_end[start] + 1):
                self.counts.ran(self.code.instructions[index], int(self.executed[start]))


def _taken(name: str, g: Group) -> np.ndarray:
    """Which wavefronts take a conditional branch."""
    condition = name.removeprefix("s_cbranch_")
    if condition.startswith("scc"):
        values = np.asarray(g.scc, bool)[:, 0]
    else:
        row = VCC if condition.startswith("vcc") else EXEC
        values = ((g.s[row] | g.s[row + 1]) != 0)[:, 0]
        condition = "1" if condition.endswith("nz") else "0"
    return values if condition.endswith("1") else ~values
