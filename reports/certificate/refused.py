"""Refused: the answer no. What cannot even be read is a ReportError, as everywhere in reports."""

import json
from typing import Any

from ..wording import printable


class Refused(Exception):
    """What was claimed does not hold. The message is one line: what, and what the evidence says instead."""


def short(digest: str) -> str:
    """The start of a digest or key id, enough to tell two apart by eye."""
    return f"{printable(digest, 80)[:12]}…"


def shown(value: Any) -> str:
    """A JSON value in a message: a scalar as it is, cut; a container by its kind, for it may be deep."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return printable(json.dumps(value), 100)
