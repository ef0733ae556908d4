"""The layer as a torch.nn.Module, for inference."""

import torch
from torch import nn

from .arguments import DTYPES, SharedExperts, check_config, check_leading
from .config import MoEConfig
from .layer import fused_moe


class FusedMoE(nn.Module):
    """A Mixture-of-Experts layer; state_dict names are those of `fused_moe`'s arguments.

    router_weight, w_gate_up and w_down, and where the configuration has them correction_bias (always float32:
    it decides ties that 16 bits would make), shared_gate_up, shared_down and shared_gate. No gradients.
    """

    def __init__(
        self, config: MoEConfig, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> None:
        super().__init__()
        check_config(config)
        if dtype not in (None, *DTYPES):
            raise TypeError(f"dtype is {dtype}; expected float32, float16, bfloat16, or None for the default")
        self.config = config
        hidden, shared = config.hidden, config.shared_intermediate

        def weight(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, dtype=dtype, device=device), requires_grad=False)

        self.router_weight = weight(config.experts, hidden)
        self.w_gate_up = weight(config.experts, 2 * config.intermediate, hidden)
        self.w_down = weight(config.experts, hidden, config.intermediate)
        bias = (
            torch.empty(config.experts, dtype=torch.float32, device=device)
            if config.correction_bias
            else None
        )
        self.correction_bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.shared_gate_up = weight(2 * shared, hidden) if shared else None
        self.shared_down = weight(hidden, shared) if shared else None
        self.shared_gate = weight(1, hidden) if config.shared_gate else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights normal with deviation 0.02, correction bias 0."""
        for name, parameter in self.named_parameters():
            if name == "correction_bias":
                nn.init.zeros_(parameter)
            else:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., hidden] to the same shape; raises ValueError or TypeError as `fused_moe` does."""
        check_leading(x, self.config.hidden)
        shared = None
        if self.shared_gate_up is not None:
            shared = SharedExperts(self.shared_gate_up, self.shared_down, self.shared_gate)
        y, _ = fused_moe(
            x.reshape(-1, self.config.hidden),
            self.router_weight,
            self.w_gate_up,
            self.w_down,
            self.config,
            self.correction_bias,
            shared,
        )
        return y.view(x.shape)

    def extra_repr(self) -> str:
        return ", ".join(
            f"{name}={getattr(self.config, name)}" for name in ("experts", "top_k", "hidden", "intermediate")
        )

    def _apply(self, fn, recurse: bool = True):
        """As nn.Module's, but .half() and .to(dtype) leave the correction bias in float32."""
        bias = self.correction_bias
        exact = None if bias is None else bias.data
        super()._apply(fn, recurse)
        if bias is not None and self.correction_bias.dtype != torch.float32:
            self.correction_bias.data = exact.to(self.correction_bias.device)
        return self
