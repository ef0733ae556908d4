"""Whether a result is right: sampled rows against float64, before anything is timed.

Contenders round where they like, so the limit is derived from how often they may, not from one kernel's
contract. Eight roundings to x's dtype are on a path (a weight, gate, up, SiLU, product, partial, weighted
partial, sum), each of at most u relative and, values being spread over a binade, of 0.42u in the mean square.
Independent, they make 1.2u; the limit of a row's relative error is 4u. Sums of n float32 terms add 2**-24 *
sqrt(n), here with the same room. An element may err by 4 times that of its row's root mean square, over ten
deviations.
"""

import torch

from .workloads import Batch

UNIT = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8, torch.float32: 0.0}  # of the roundings to x's dtype
ROOM = 4.0
SAMPLED = 32


def sampled_rows(tokens: int, most: int = SAMPLED) -> torch.Tensor:
    """The first, the last, and rows evenly between; int64 on the CPU."""
    return torch.linspace(0, tokens - 1, min(tokens, most)).round().long().unique()


def expected_rows(
    batch: Batch, w_gate_up: torch.Tensor, w_down: torch.Tensor, rows: torch.Tensor
) -> torch.Tensor:
    """y[rows] in float64, one expert at a time; slots with ids outside [0, experts) are skipped."""
    rows = rows.to(batch.x.device)
    x, ids, weights = (each[rows] for each in batch)
    y = torch.zeros(x.shape, dtype=torch.float64, device=x.device)
    for expert in ids.unique().tolist():
        if not 0 <= expert < w_down.shape[0]:
            continue
        row, position = (ids == expert).nonzero(as_tuple=True)
        activation = expected_activation(x[row], w_gate_up[expert])
        term = activation @ w_down[expert].double().T
        y.index_add_(0, row, term * weights[row, position].double()[:, None])
    return y


def expected_activation(x: torch.Tensor, w_gate_up: torch.Tensor) -> torch.Tensor:
    """silu(x @ gate.T) * (x @ up.T) of one expert in float64: x [rows, hidden], w_gate_up [2n, hidden]."""
    gate, up = (x.double() @ w_gate_up.double().T).chunk(2, dim=1)
    return torch.nn.functional.silu(gate) * up


def limit(dtype: torch.dtype, terms: int) -> float:
    """Relative error that a row may have; terms: the longest of its sums."""
    return ROOM * (UNIT[dtype] + 2.0**-24 * terms**0.5)


def fault(y: torch.Tensor, rows: torch.Tensor, expected: torch.Tensor, dtype: torch.dtype, terms: int) -> str:
    """What is wrong with y [n, width], of which y[rows] is expected [len(rows), width]; "" if nothing is."""
    if y.dtype != dtype or y.shape[1:] != expected.shape[1:]:
        return f"is {y.dtype} {tuple(y.shape)}; expected {dtype} [..., {expected.shape[1]}]"
    unwritten = int((~torch.isfinite(y)).sum())
    if unwritten:
        return f"has {unwritten} elements that are NaN or infinite, or were not written"
    most = limit(dtype, terms)
    error = y[rows.to(y.device)].double() - expected
    size = expected.pow(2).mean(dim=1, keepdim=True).sqrt()
    if not bool((size > 0).all()):
        return "cannot be judged: an expected row is zero"
    relative = float((error.pow(2).mean(dim=1, keepdim=True).sqrt() / size).max())
    if not relative <= most:
        return f"errs by {relative:.2e} of a row, beyond the {most:.2e} that rounding explains"
    worst = float((error.abs() / size).max())
    if not worst <= ROOM * most:
        return f"errs in an element by {worst:.2e} of its row, beyond the {ROOM * most:.2e} allowed"
    return ""
