"""Hypothesis strategies for Mixture-of-Experts inputs: routing tables, shapes, launches, and whole examples.

They state what is valid and draw small descriptions, never tensors: a draw is a line of JSON. Everything
comes from `sampled_from`, so that nothing but the tables here decides what can be drawn.
"""

from dataclasses import asdict, dataclass
from typing import Any

from hypothesis import strategies as st

from .tables import DEGENERATE, RoutingTable

SIZES = (16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 80, 96)
TOKENS = (1, 2, 3, 5, 7, 8, 13, 15, 16, 17, 24, 31, 32, 33)
TILE_EDGES = (15, 16, 17, 31, 32, 33, 63, 64, 65)
EXPONENTS = (0.5, 1.0, 1.5, 2.0, 2.5)
LAYOUTS = ("plain", "plain", "plain", "offset", "padded", "transposed", "stepped")
SCALES = (-6, -3, 0, 0, 2)


@dataclass(frozen=True)
class Example:
    """All that an example's inputs and launch follow from.

    family "exact" (every correct kernel gives the same bits) or "real"; `scale` is the binary exponent of x's
    magnitude in the real family; `launch` picks, modulo their number, one of the configurations that the
    platform ships, so that one corpus serves all platforms.
    """

    family: str
    tokens: int
    hidden: int
    intermediate: int
    routing: RoutingTable
    seed: int
    scale: int
    layout: str
    ids_dtype: str
    weights_dtype: str
    launch: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Example":
        return cls(**{**data, "routing": RoutingTable(**data["routing"])})

    def to_row(self) -> list[Any]:
        """The values alone, in the order of the fields, the routing table as a list: a line of the corpus."""
        return [list(value.values()) if isinstance(value, dict) else value for value in asdict(self).values()]

    @classmethod
    def from_row(cls, row: list[Any]) -> "Example":
        return cls(*(RoutingTable(*value) if isinstance(value, list) else value for value in row))


def examples(routing: str, top_k: int) -> st.SearchStrategy[Example]:
    """Whole examples for one kind of routing ("balanced", "zipf" or "degenerate")."""
    return routing_tables(kind=routing).flatmap(
        lambda table: st.builds(
            Example,
            family=st.sampled_from(("exact", "real")),
            tokens=tokens_for(table, top_k),
            hidden=st.sampled_from(SIZES),
            intermediate=st.sampled_from(SIZES),
            routing=st.just(table),
            seed=seeds(),
            scale=st.sampled_from(SCALES),
            layout=st.sampled_from(LAYOUTS),
            ids_dtype=st.sampled_from(("int32", "int64")),
            weights_dtype=st.sampled_from(("float32", "own")),
            launch=launches(),
        )
    )


def routing_tables(*, kind: str = "balanced") -> st.SearchStrategy[RoutingTable]:
    """Descriptions of routing tables; `RoutingTable.ids` makes the table for given tokens, experts and
    top-k.
    """
    return st.builds(
        RoutingTable,
        kind=st.just(kind),
        exponent=st.sampled_from(EXPONENTS) if kind == "zipf" else st.just(0.0),
        pattern=st.sampled_from(DEGENERATE) if kind == "degenerate" else st.just(""),
        skip=st.sampled_from(("none", "none", "minus_one", "beyond")),
    )


def shapes(*, max_tokens: int = 33, max_size: int = 96) -> st.SearchStrategy[tuple[int, int, int]]:
    """(tokens, hidden, intermediate) around tile edges."""
    sizes = [size for size in SIZES if size <= max_size]
    return st.tuples(
        st.sampled_from([t for t in TOKENS if t <= max_tokens]),
        st.sampled_from(sizes),
        st.sampled_from(sizes),
    )


def launches() -> st.SearchStrategy[int]:
    """A rank that picks one of a platform's shipped launch configurations, modulo their number."""
    return st.sampled_from(range(840))  # divisible by 1..8: every configuration equally often


def seeds() -> st.SearchStrategy[int]:
    """Keys of the counter-based generator."""
    return st.sampled_from(range(2**16))


def tokens_for(table: RoutingTable, top_k: int) -> st.SearchStrategy[int]:
    if table.pattern == "one_token":
        return st.just(1)
    if table.pattern == "tile_edge":
        return st.sampled_from(TILE_EDGES if top_k <= 2 else TILE_EDGES[:6])
    return st.sampled_from(TOKENS if top_k <= 2 else TOKENS[:11])
