"""A verdict as a badge: SVG without scripts, links or fonts from elsewhere."""

from html import escape

from ..wording import printable

# Of the right-hand part: dark enough for white text at a contrast of 4.5 to 1.
_COLOURS = {"PARITY": "#17694a", "DIVERGENT": "#b0261c", "INCOMPLETE": "#855600"}
_HEIGHT, _PADDING, _CHARACTER = 20, 7, 6.6


def render(left: str, right: str, verdict: str) -> str:
    """The badge "left, right | VERDICT"."""
    name = printable(f"{left} ↔ {right}", 60)
    name_width, verdict_width = _width(name), _width(verdict)
    total = name_width + verdict_width
    title = escape(f"{name}: {verdict}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{_HEIGHT}" role="img" '
        f'aria-label="{title}"><title>{title}</title>'
        f'<rect width="{total}" height="{_HEIGHT}" rx="3" fill="#3b4046"/>'
        f'<path d="M{name_width} 0h{verdict_width - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{verdict_width - 3}z" '
        f'fill="{_COLOURS[verdict]}"/>'
        '<g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11">'
        f'<text x="{_PADDING}" y="14" textLength="{name_width - 2 * _PADDING}">{escape(name)}</text>'
        f'<text x="{name_width + _PADDING}" y="14" textLength="{verdict_width - 2 * _PADDING}">'
        f"{escape(verdict)}</text></g></svg>\n"
    )


def _width(text: str) -> int:
    return round(len(text) * _CHARACTER) + 2 * _PADDING
