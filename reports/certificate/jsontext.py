"""JSON that has one reading and one writing: strict in, canonical out."""

import json
from collections import Counter
from typing import Any, NoReturn

from ..model import ReportError
from ..wording import printable
from .refused import Refused


def canonical(value: Any) -> bytes:
    """The bytes to sign: keys sorted by code point, no space, UTF-8, numbers as Python writes them."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def readable(value: Any) -> bytes:
    """The same for a file that people open: one value a line."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def strict(data: bytes, what: str) -> Any:
    """The JSON value in these bytes. Raises ReportError where there is none, and Refused where two readers
    may read two: a key twice in an object, or NaN and Infinity.
    """

    def pairs(given: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(given)
        if len(found) != len(given):
            twice = Counter(name for name, _ in given).most_common(1)[0][0]
            raise Refused(f"{what} has the key {printable(twice, 80)!r} twice in one object")
        return found

    def constant(name: str) -> NoReturn:
        raise Refused(f"{what} holds {name}, which is no JSON")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError among them
        raise ReportError(f"{what} is no JSON ({printable(str(error), 120)})") from None
