"""Pieces of text that every output shares: untrusted strings made safe to print, and numbers."""

import math

NOTHING = "\N{EN DASH}"  # where there is no number


def printable(text: str, limit: int = 300) -> str:
    """On one line, at most `limit` characters, with nothing that a terminal obeys or that reorders text."""
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in text).strip()


def number(value: float) -> str:
    """Four characters at most for anything that fits a bound: 0, <.01, 0.42; then 1.3, 42, 1e+09, ∞, NaN."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    if abs(value) <= 1:
        # Rounding must not move a value across the bound, nor make it look exact.
        return "<.01" if abs(value) < 0.01 else f"{math.floor(value * 100) / 100:.2f}"
    if value < 10:
        return f"{math.ceil(value * 100) / 100:.2f}" if value < 1.1 else f"{value:.1f}"
    return f"{value:.0f}" if value < 1000 else f"{value:.0e}"


def count(amount: int, singular: str, plural: str = "") -> str:
    return f"{amount:,} {singular if amount == 1 else plural or singular + 's'}"
