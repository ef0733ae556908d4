"""From a path to a JSON object whose fields are what they should be, or a ReportError of one line."""

import json
import os
import re
from typing import Any, NoReturn

from .model import ReportError
from .untrusted import file_bytes
from .wording import printable

MAX_COUNT = 10**9
DIGEST = re.compile(r"[0-9a-f]{64}")


def load(path: str | os.PathLike[str], limit: int) -> "Fields":
    """The object in this file of at most `limit` bytes. Raises ReportError."""
    name = printable(os.fspath(path))
    try:
        made = json.loads(file_bytes(path, limit).decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{name}: is no JSON ({printable(str(error), 120)})") from None
    return Fields(name, "", made)


class Fields:
    """An object of the file, at the place `where` in it; what is not as expected is refused by name."""

    def __init__(self, name: str, where: str, given: Any) -> None:
        self.name, self.where = name, where
        if not isinstance(given, dict):
            self.refuse("", type(given).__name__, "an object")
        self.given = given

    def refuse(self, key: str, got: str, expected: str) -> NoReturn:
        """Raises the ReportError."""
        raise ReportError(
            f"{self.name}: {self._place(key) or 'the file'} is {printable(got, 80)}; expected {expected}"
        )

    def has(self, key: str) -> bool:
        """Whether there is such a field, and it is not null."""
        return self.given.get(key) is not None

    def text(self, key: str, limit: int = 2_000) -> str:
        return self._text(key, self._of(key, str, "text"), limit)

    def texts(self, key: str, at_most: int) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(
            self._text(f"{key}[{index}]", each, 2_000) for index, each in enumerate(self._list(key, at_most))
        )

    def count(self, key: str) -> int:
        found = self._of(key, int, "a whole number, 0 or more")
        if not 0 <= found <= MAX_COUNT:
            self.refuse(key, "out of range", f"a whole number from 0 to {MAX_COUNT:,}")
        return found

    def flag(self, key: str) -> bool:
        return self._of(key, bool, "true or false")

    def digest(self, key: str) -> str:
        """A SHA-256; "" if there is none."""
        if not self.has(key):
            return ""
        found = self.text(key)
        if not DIGEST.fullmatch(found):
            self.refuse(key, repr(found), "64 hexadecimal digits, a SHA-256")
        return found

    def inner(self, key: str) -> "Fields":
        return Fields(self.name, self._place(key), self.given.get(key))

    def each(self, key: str, at_most: int) -> list["Fields"]:
        """A list of objects."""
        return [
            Fields(self.name, f"{self._place(key)}[{index}]", entry)
            for index, entry in enumerate(self._list(key, at_most))
        ]

    def _place(self, key: str) -> str:
        return ".".join(filter(None, (self.where, key)))

    def _list(self, key: str, at_most: int) -> list[Any]:
        found = self._of(key, list, "a list")
        if len(found) > at_most:
            self.refuse(key, f"a list of {len(found):,}", f"at most {at_most:,} entries")
        return found

    def _of(self, key: str, kind: type, expected: str) -> Any:
        if key not in self.given:
            self.refuse(key, "missing", expected)
        if type(self.given[key]) is not kind:
            self.refuse(key, type(self.given[key]).__name__, expected)
        return self.given[key]

    def _text(self, key: str, found: Any, limit: int) -> str:
        if type(found) is not str or len(found) > limit:
            got = f"text of {len(found):,} characters" if type(found) is str else type(found).__name__
            self.refuse(key, got, f"text of at most {limit:,} characters")
        return found


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
