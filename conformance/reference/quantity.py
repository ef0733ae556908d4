"""A computed quantity: its true value, how far a correct kernel may be from it, and one plausible correct
kernel.

`bound` follows Higham (Accuracy and Stability of Numerical Algorithms, 3.1) componentwise: k terms summed in
float32 err by at most gamma_k |A||B|. For 16-bit inputs the sum may be a matrix core's, which aligns addends
to the largest and cuts them (NVIDIA: arXiv 2403.00232; AMD CDNA3: arXiv 2511.10909): at most 2**-23 of |A||B|
an addend. `slack` is the part of the bound whose sign and size hardware may choose: those cuts, and the error
of the elementary functions. `model` is the value with every declared rounding point rounded and float32 sums
simulated term by term.
"""

from dataclasses import dataclass

import torch

U32 = 2.0**-24
UNIT = {
    torch.float32: 0.0,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
}  # of the store; float32 is no rounding
TINY = {
    torch.float32: 2.0**-126,
    torch.float16: 2.0**-25,
    torch.bfloat16: 2.0**-126,
}  # subnormals may be flushed
EXP_ERROR = 4 * U32  # of the exponential itself, relative; its argument's rounding comes on top
DIVISION_ERROR = (
    5 * U32
)  # NVIDIA's fast division: 2 units in the last place of 2**-23, and the operand's rounding
CORE_GROUP = 8  # terms that a matrix core adds at once in the simulated sum


@dataclass(frozen=True)
class Quantity:
    """float64 tensors of one shape: value, bound and slack (absolute, at least 0), model."""

    value: torch.Tensor
    bound: torch.Tensor
    slack: torch.Tensor
    model: torch.Tensor

    @classmethod
    def given(cls, tensor: torch.Tensor) -> "Quantity":
        """An input: no error."""
        value = tensor.double()
        zero = torch.zeros_like(value)
        return cls(value, zero, zero, value)

    def __getitem__(self, index) -> "Quantity":
        return Quantity(self.value[index], self.bound[index], self.slack[index], self.model[index])

    def without_error(self) -> "Quantity":
        """The simulated value, taken for the truth: what exact examples are judged by."""
        zero = torch.zeros_like(self.value)
        return Quantity(self.model, zero, zero, self.model)

    def stored(self, dtype: torch.dtype) -> "Quantity":
        """Rounded to nearest even in dtype: one declared rounding point."""
        bound = self.bound + UNIT[dtype] * (self.value.abs() + self.bound) + TINY[dtype]
        return Quantity(self.value, bound, self.slack, rounded(self.model, dtype))


def rounded(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """float64 to float32 to dtype and back, as a kernel that computes in float32 stores it."""
    return x.float().to(dtype).double()


def truncated32(x: torch.Tensor) -> torch.Tensor:
    """float64 cut to float32 precision, towards zero."""
    near = x.float()
    over = near.double().abs() > x.abs()
    return torch.where(over, torch.nextafter(near, torch.zeros_like(near)), near).double()


def dot(a: Quantity, rows: torch.Tensor, dtype: torch.dtype, exact: bool) -> Quantity:
    """sum over k of a[m, k] * rows[m, n, k], products of dtype, accumulated in float32.

    a [m, k] quantity; rows float64, without error: [m, n, k] weights gathered a row of a, or [n, k] for all
    rows, whose sums are not simulated (full sizes); dtype that of the products.
    """
    magnitude = rows.abs()
    value, size = _sums(a.value, rows), _sums(a.value.abs() + a.bound, magnitude)
    carried, carried_slack = _sums(a.bound, magnitude), _sums(a.slack, magnitude)
    terms = rows.shape[-1]
    if exact:
        require_exact(a.model, rows, size)
        return Quantity(value, carried, carried_slack, _sums(a.model, rows))
    if dtype == torch.float32:
        own, cut = gamma(terms + 1) * size, 0.0
    else:
        own = cut = (1.25 * terms + 4) * 2.0**-23 * size
    model = _simulated(a.model, rows, dtype == torch.float32) if rows.ndim == 3 else _sums(a.model, rows)
    return Quantity(value, carried + own + terms * 2.0**-126, carried_slack + cut, model)


def _sums(a: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return torch.einsum("mk,mnk->mn", a, rows) if rows.ndim == 3 else a @ rows.T


def gamma(terms: int) -> float:
    return terms * U32 / (1 - terms * U32)


def require_exact(a: torch.Tensor, rows: torch.Tensor, size: torch.Tensor) -> None:
    """Raises AssertionError unless every partial sum, in any order, fits the 22 bits that all hardware
    keeps.
    """
    quantum = _quantum(a) * _quantum(rows)
    worst = float(size.max()) / quantum if size.numel() else 0.0
    assert worst < 2**22, (
        f"an exact example's sums need {worst:.4g} units of {quantum:g}: not exact on all hardware"
    )


def _quantum(x: torch.Tensor) -> float:
    """The largest power of two that divides every element."""
    values = x[x != 0].abs()
    if values.numel() == 0:
        return 1.0
    mantissa, exponent = torch.frexp(values)
    scaled = (mantissa * 2.0**53).long()
    lowest = (scaled & -scaled).double().log2().round().long()
    return 2.0 ** float((lowest + exponent - 53).min())


def _simulated(a: torch.Tensor, rows: torch.Tensor, ieee: bool) -> torch.Tensor:
    """The sum as float32 hardware makes it: a fused multiply-add a term, or groups of terms that are cut."""
    step = 1 if ieee else CORE_GROUP
    acc = torch.zeros(rows.shape[:2], dtype=torch.float64)
    by_term = rows.permute(2, 0, 1).contiguous() if ieee else rows
    for k in range(0, rows.shape[2], step):
        if ieee:
            acc = torch.addcmul(acc, by_term[k], a[:, k, None]).float().double()
        else:
            acc = truncated32(acc + torch.einsum("mk,mnk->mn", a[:, k : k + step], rows[:, :, k : k + step]))
    return acc


def sigmoid(x: Quantity, noise: torch.Tensor | None) -> Quantity:
    """1 / (1 + exp(-x)) in float32. `noise` in [-1, 1]: how the simulated kernel's elementary
    functions err.
    """
    value = torch.sigmoid(x.value)
    steep = torch.sigmoid(x.bound - x.value)  # the largest relative slope 1 - sigmoid on the way
    own = steep * exp_error(x.value, x.bound) + U32 + DIVISION_ERROR
    relative = steep * x.bound + own
    bound = value * torch.expm1(relative) + TINY[torch.float32]
    slack = value * torch.expm1(steep * x.slack + own) + TINY[torch.float32]
    model = torch.sigmoid(x.model)
    if noise is not None:
        model = (model * (1 + noise * own / 2)).float().double()
    return Quantity(value, bound, slack, model)


def silu(x: Quantity, noise: torch.Tensor | None) -> Quantity:
    """x * sigmoid(x) in float32, as x / (1 + exp(-x)); where exp overflows, 0 instead of less than
    2**-120.
    """
    gate = torch.sigmoid(x.value)
    value = x.value * gate
    slope = (gate * (1 + x.value * (1 - gate))).abs()
    own = value.abs() * (
        torch.sigmoid(x.bound - x.value) * exp_error(x.value, x.bound) + U32 + DIVISION_ERROR
    )
    curve = 0.25 * x.bound  # half of the largest |second derivative|, 1/2
    bound = (slope + curve) * x.bound + own * (1 + x.bound) + 2.0**-120
    model_gate = torch.sigmoid(x.model)
    model = x.model * model_gate
    if noise is None:
        model = torch.where(
            x.model <= -104, torch.zeros_like(model), torch.where(x.model >= 32, x.model, model)
        )
    else:
        model = (model + noise * own / 2).float().double()
    return Quantity(value, bound, (slope + curve) * x.slack + own + 2.0**-120, model)


def exp_error(x: torch.Tensor, bound: torch.Tensor) -> torch.Tensor:
    """Relative error of exp in float32: its own, and two roundings of an argument scaled by log2(e)."""
    return EXP_ERROR + 2 * U32 * (x.abs() + bound)
