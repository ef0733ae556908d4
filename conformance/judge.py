"""The three-part judgement: every element inside its bound, signs of errors balanced, noise no larger than
declared.

A bound alone passes a store that truncates (each error is inside) and an extra rounding (the bound has room):
the second part sees the first, the third the second. There is no tolerance anywhere. Integers must be equal.
"""

import math
from dataclasses import dataclass, field

import torch

from .reference import U32, Quantity

SIGN_LIMIT = 6.0  # standard deviations; a correct kernel exceeds it at most once in 5e8 tests
NOISE_LIMIT = 1.15  # of the simulated kernel's rms error
EXCESS_LIMIT = 6.0  # how surely above that: by chance once in 6e7 (a self-normalized sum, exp(-18))


@dataclass
class Tally:
    """What the statistical parts count; tallies of several examples add up."""

    errors: int = 0
    up: int = 0
    outward: int = 0
    model_up: float = 0.0
    model_outward: float = 0.0
    squares: float = 0.0
    model_squares: float = 0.0
    excess: float = 0.0
    excess_squares: float = 0.0
    signed: int = 0

    def add(self, other: "Tally") -> None:
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def z(self) -> float:
        """The larger of two sign statistics: errors up against down, away from zero against towards it.

        What leans in the simulated kernel just so is no fault: where one element of the activation rules a
        token's row, its rounding gives all of the row's errors their sign.
        """
        if not self.signed:
            return 0.0
        leans = (
            (2 * self.up - self.signed, 2 * (self.up - self.model_up)),
            (2 * self.outward - self.signed, 2 * (self.outward - self.model_outward)),
        )
        return max(min(map(abs, lean)) for lean in leans) / math.sqrt(self.signed)

    @property
    def noise(self) -> float:
        """rms(error / bound) over that of the simulated kernel."""
        if self.squares == 0:
            return 0.0
        return math.sqrt(self.squares / self.model_squares) if self.model_squares else math.inf

    @property
    def noise_excess(self) -> float:
        """How surely the noise is above NOISE_LIMIT, in deviations of its own terms; never above the root of
        their number, so that a handful of elements proves nothing.
        """
        return self.excess / math.sqrt(self.excess_squares) if self.excess_squares else 0.0

    def faults(self, where: str) -> list[str]:
        found = []
        if self.z > SIGN_LIMIT:
            found.append(
                f"{where}: signs of {self.signed} errors are unbalanced, |z| = {self.z:.1f} > {SIGN_LIMIT:g} "
                f"({self.up} up, {self.outward} away from zero)"
            )
        if self.noise_excess > EXCESS_LIMIT:
            found.append(
                f"{where}: rms error over {self.errors} elements is {self.noise:.3f} of the simulated, above "
                f"{NOISE_LIMIT:g} by {self.noise_excess:.1f} > {EXCESS_LIMIT:g} deviations"
            )
        return found


@dataclass
class Judgement:
    """Faults found ("" where none), and the figures that reports keep."""

    faults: list[str] = field(default_factory=list)
    worst: float = 0.0
    where: str = ""
    tallies: dict[str, Tally] = field(default_factory=dict)

    def real(self, name: str, got: torch.Tensor, expected: Quantity, dtype: torch.dtype) -> None:
        """A real output: shape, dtype, then the three parts."""
        if not self._same_form(name, got, expected.value, dtype):
            return
        got = got.double()
        error = (got - expected.value).abs()
        ratio = torch.where(error == 0, torch.zeros_like(error), error / expected.bound)
        ratio = torch.where(torch.isnan(ratio), torch.full_like(ratio, math.inf), ratio)
        if self._worst_of(name, ratio, got, expected.value, expected.bound):
            return
        tally = _tally(got, expected, dtype)
        self.tallies.setdefault(name, Tally()).add(tally)
        self.faults += tally.faults(name)

    def equal(self, name: str, got: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> None:
        """Integers, and floating-point outputs of exact examples: the same values (either zero equals the
        other).
        """
        if not self._same_form(name, got, expected, dtype):
            return
        differs = (got.double() != expected.double()).double()
        ratio = torch.where(differs > 0, math.inf, 0.0)
        self._worst_of(name, ratio, got.double(), expected.double(), torch.zeros_like(ratio))

    def refuse(self, fault: str) -> None:
        """A fault that no bound measures."""
        self.faults.append(fault)
        self.worst, self.where = math.inf, fault

    def _same_form(self, name: str, got: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype) -> bool:
        if got.shape == expected.shape and got.dtype == dtype:
            return True
        self.refuse(f"{name}: got {tuple(got.shape)} {got.dtype}, expected {tuple(expected.shape)} {dtype}")
        return False

    def _worst_of(self, name, ratio, got, expected, bound) -> bool:
        """Records the worst element; whether it is outside its bound."""
        if not ratio.numel():
            return False
        index = tuple(int(i) for i in torch.unravel_index(ratio.argmax(), ratio.shape))
        worst = float(ratio[index])
        described = (
            f"{name}{list(index)} got {float(got[index])!r} expected {float(expected[index])!r} "
            f"bound {float(bound[index]):.4g}"
        )
        if worst > self.worst or not self.where:
            self.worst, self.where = worst, described
        if worst > 1:
            self.faults.append(f"{described}; {int((ratio > 1).sum())} of {ratio.numel()} elements outside")
        return worst > 1


def _tally(got: torch.Tensor, expected: Quantity, dtype: torch.dtype) -> Tally:
    """Counts over elements whose bound is not 0; signs only where hardware's own choices cannot explain the
    error.

    A 16-bit store rounds the simulated kernel's value and the kernel's alike. The last rounding of a float32
    output they do not share, so there its variance is expected of each, not that of one draw.
    """
    bounded = expected.bound > 0
    error = (got - expected.value)[bounded]
    bound, slack = expected.bound[bounded], expected.slack[bounded]
    model_squares = (expected.model - expected.value)[bounded].square()
    if dtype == torch.float32:
        model_squares = torch.maximum(model_squares, (U32 * expected.value[bounded]).square() / 3)
    squares, model_squares = (error / bound).square(), model_squares / bound.square()
    excess = squares - NOISE_LIMIT**2 * model_squares
    signed = error.abs() > slack
    positive = torch.where(expected.value[bounded][signed] > 0, 1.0, -1.0)
    sign = torch.where(error[signed] > 0, 1.0, -1.0)
    model_sign = torch.sign((expected.model - expected.value)[bounded][signed])  # 0 counts as half of each
    return Tally(
        errors=int(bounded.sum()),
        up=int((sign > 0).sum()),
        outward=int((sign == positive).sum()),
        model_up=float((1 + model_sign).sum() / 2),
        model_outward=float((1 + model_sign * positive).sum() / 2),
        squares=float(squares.sum()),
        model_squares=float(model_squares.sum()),
        excess=float(excess.sum()),
        excess_squares=float(excess.square().sum()),
        signed=int(signed.sum()),
    )
