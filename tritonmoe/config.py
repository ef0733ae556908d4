"""What defines a Mixture-of-Experts layer: sizes, scoring, groups, scaling, shared experts."""

import sys
from dataclasses import dataclass
from typing import Literal, get_args

Scoring = Literal["softmax", "sigmoid"]
MOST_EXPERTS = 65536  # the router holds a row of scores in registers; far above any published model


@dataclass(frozen=True, kw_only=True)
class MoEConfig:
    """A layer's configuration; sizes in elements. Raises TypeError or ValueError for what no layer can have.

    experts: routed experts. top_k: experts a token goes to. scoring: softmax over all experts, or a sigmoid
    of each. renormalize: divide the chosen weights by their sum. expert_groups, groups_kept: group-limited
    choice; a group's score is the sum of its two best biased scores (DeepSeek-V3, arXiv 2412.19437, 2.1.2).
    correction_bias: the model has a bias that chooses and never weighs. routed_scaling_factor: multiplies the
    weights last. shared_intermediate: total width of the shared experts, 0 for none. shared_gate: a sigmoid
    gate scales them. `dataclasses.replace(config, hidden=64)` gives a changed copy.
    """

    experts: int
    top_k: int
    hidden: int
    intermediate: int
    scoring: Scoring = "softmax"
    renormalize: bool = True
    expert_groups: int = 1
    groups_kept: int = 1
    correction_bias: bool = False
    routed_scaling_factor: float = 1.0
    shared_intermediate: int = 0
    shared_gate: bool = False

    def __post_init__(self) -> None:
        for name in ("experts", "top_k", "hidden", "intermediate", "expert_groups", "groups_kept"):
            _check_size(name, getattr(self, name), least=1)
        _check_size("shared_intermediate", self.shared_intermediate, least=0)
        for name in ("renormalize", "correction_bias", "shared_gate"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} is {getattr(self, name)!r}; expected True or False")
        if self.scoring not in get_args(Scoring):
            raise ValueError(f"scoring is {self.scoring!r}; expected one of {', '.join(get_args(Scoring))}")
        self._check_choice()
        factor = self.routed_scaling_factor
        if isinstance(factor, bool) or not isinstance(factor, int | float):
            raise TypeError(f"routed_scaling_factor is {factor!r}; expected a number")
        if not 0 < factor <= sys.float_info.max:
            raise ValueError(
                f"routed_scaling_factor is {factor}; expected a finite number above 0, 1.0 for no scaling"
            )
        if self.shared_gate and not self.shared_intermediate:
            raise ValueError(
                "shared_gate is set but shared_intermediate is 0; a gate needs shared experts to scale: "
                "give their total width, or leave shared_gate out"
            )

    def _check_choice(self) -> None:
        if self.experts > MOST_EXPERTS:
            raise ValueError(f"experts is {self.experts}; at most {MOST_EXPERTS} are supported")
        if self.top_k > self.experts:
            raise ValueError(f"top_k is {self.top_k}; expected at most experts, which is {self.experts}")
        if self.experts % self.expert_groups:
            raise ValueError(
                f"expert_groups is {self.expert_groups}, which does not divide experts, {self.experts}; "
                "groups are of equal size, use 1 for a choice without groups"
            )
        if self.groups_kept > self.expert_groups:
            raise ValueError(
                f"groups_kept is {self.groups_kept}; expected at most expert_groups, {self.expert_groups}"
            )
        size = self.experts // self.expert_groups
        if self.expert_groups > 1 and size < 2:
            raise ValueError(
                f"expert_groups is {self.expert_groups}: groups of {size} expert have no two best scores; "
                "use fewer groups"
            )
        if self.groups_kept * size < self.top_k:
            raise ValueError(
                f"groups_kept is {self.groups_kept}: {self.groups_kept} groups of {size} hold fewer than "
                f"top_k = {self.top_k} experts; keep more groups"
            )


def _check_size(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {value!r}; expected an int of at least {least}")
    if value < least:
        raise ValueError(f"{name} is {value}; expected at least {least}")
