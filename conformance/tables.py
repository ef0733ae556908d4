"""Routing tables: which experts each token goes to, from a short description and a seed."""

from dataclasses import dataclass

import torch

from .philox import Stream

DEGENERATE = ("one_expert", "one_token", "mostly_empty", "ties", "tile_edge")


@dataclass(frozen=True)
class RoutingTable:
    """A kind of routing, its Zipf exponent or degenerate pattern, and how slots are skipped."""

    kind: str
    exponent: float = 0.0
    pattern: str = ""
    skip: str = "none"

    def ids(self, stream: Stream, tokens: int, experts: int, top_k: int) -> torch.Tensor:
        """int64 [tokens, top_k], distinct in each row but for skipped slots (-1, or at least `experts`)."""
        popularity = self.popularity(stream, experts)
        gumbel = -torch.log(-torch.log(stream.uniform((tokens, experts)).clamp(2.0**-60, 1 - 2.0**-53)))
        ids = torch.sort(popularity + gumbel, dim=1, descending=True, stable=True).indices[:, :top_k]
        if self.skip != "none":
            dropped = stream.uniform((tokens, top_k)) < 0.25
            beyond = experts + stream.integers((tokens, top_k), 0, 3)
            ids = torch.where(dropped, -1 if self.skip == "minus_one" else beyond, ids)
        return ids.contiguous()

    def popularity(self, stream: Stream, experts: int) -> torch.Tensor:
        """float64 [experts]: log of how often each expert should be chosen, up to a constant."""
        rank = stream.permutation(experts).double()
        if self.kind == "zipf":
            return -self.exponent * torch.log1p(rank)
        if self.pattern in ("one_expert", "tile_edge"):
            return torch.where(rank == 0, 24.0, 0.0)
        if self.pattern == "mostly_empty":
            return torch.where(rank < max(2, experts // 16), 24.0, 0.0)
        return torch.zeros(experts, dtype=torch.float64)
