"""One self-contained HTML document: nothing is fetched, every string is escaped, and its own policy lets
nothing run but the one script, and nothing style it but the one sheet, both known by their hashes.

The script is given no data: it reads the page that it is in, so a report's strings never pass through a
parser of ours in the browser.
"""

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup, escape

from .wording import NOTHING, count, number, printable


def document(template: str, script: bool, **context: Any) -> str:
    """The HTML of a template in `templates/` that extends base.html. `script`: whether the page has its
    script.
    """
    return (
        _environment()
        .get_template(template)
        .render(
            policy=policy(script),
            style=Markup(_text("style.css")),
            script=Markup(_text("script.js")) if script else "",
            **context,
        )
    )


def policy(script: bool = True) -> str:
    """The Content-Security-Policy in the document; a server that sends one has to allow as much."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(_text('style.css'))}'",
            f"script-src '{_hash(_text('script.js'))}'" if script else "script-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def clipped(text: str, limit: int = 1_000) -> Markup:
    """The text on one line, escaped, and how much of it was left out."""
    shown = escape(printable(text, limit))
    if len(text) <= limit:
        return Markup(shown)
    return Markup(
        '{} <span class="left-out">(the first {:,} of {:,} characters; the file has them all)</span>'
    ).format(shown, limit, len(text))


def breakable(name: str) -> Markup:
    """A name that a narrow column may break after a slash or an underscore."""
    return Markup(str(escape(name)).replace("/", "/<wbr>").replace("_", "_<wbr>"))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["zip"] = zip
    environment.filters["line"] = printable
    environment.filters["number"] = lambda value: NOTHING if value is None else number(value)
    environment.filters["breakable"] = breakable
    environment.filters["clipped"] = clipped
    environment.filters["amount"] = count
    environment.filters["grouped"] = lambda value: f"{value:,}"
    return environment


@cache
def _text(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
