"""From a path to an XML tree that is small, flat and free of DTDs and entities, or a ReportError.

A report may come from anybody. The bytes are counted before they are parsed, and one streaming pass checks
every limit before a second pass builds a tree.
"""

import hashlib
import os
import stat
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import XMLParser

from .model import ReportError
from .wording import printable

MAX_BYTES = 64 * 2**20
MAX_DEPTH = 12  # the contract uses 5
MAX_ELEMENTS = 200_000
MAX_TESTCASES = 5_000
MAX_PROPERTIES = 64  # of one testcase or suite
MAX_ATTRIBUTES = 32  # of one element
MAX_TEXT = 2**20  # characters of one attribute, one name, or one element's text
MAX_TOKEN = 4 * 2**20  # bytes that the parser may hold back, waiting for a tag's end
CHUNK = 2**18


def load(path: str | os.PathLike[str]) -> tuple[Element, str]:
    """The root element of the XML file, and the SHA-256 of the file's bytes. Raises ReportError."""
    data = file_bytes(path, MAX_BYTES)
    name = printable(os.fspath(path))
    if not data:
        raise ReportError(
            f"{name}: the file is empty; expected a report that the suite wrote with --junitxml"
        )
    _parse(name, data, _Limits())
    root = _parse(name, data, None)
    return root, hashlib.sha256(data).hexdigest()


def file_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises ReportError."""
    name = printable(os.fspath(path))
    try:
        kind = os.stat(path).st_mode
        if not stat.S_ISREG(kind):
            what = "a directory" if stat.S_ISDIR(kind) else "no regular file"
            raise ReportError(f"{name}: is {what}; expected a file")
        with Path(path).open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ReportError(f"{name}: cannot be read ({printable(reason)})") from None
    if len(data) > limit:
        raise ReportError(f"{name}: is larger than {limit:,} bytes, the most that is accepted")
    return data


class _TooMuch(Exception):
    pass


class _Limits:
    """A parser target that keeps nothing and raises _TooMuch at the first excess."""

    def __init__(self) -> None:
        self.depth = self.elements = self.testcases = self.properties = self.text = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        self.elements += 1
        self.text = 0
        if tag in ("testcase", "testsuite"):
            self.properties = 0
        self.testcases += tag == "testcase"
        self.properties += tag == "property"
        _at_most(MAX_DEPTH, self.depth, "levels of elements")
        _at_most(MAX_ELEMENTS, self.elements, "elements")
        _at_most(MAX_TESTCASES, self.testcases, "testcases")
        _at_most(MAX_PROPERTIES, self.properties, "properties of one testcase")
        _at_most(MAX_ATTRIBUTES, len(attributes), "attributes of one element")
        _at_most(
            MAX_TEXT,
            max((len(value) for value in attributes.values()), default=0),
            "characters in an attribute",
        )

    def data(self, data: str) -> None:
        self.text += len(data)
        _at_most(MAX_TEXT, self.text, "characters of text in an element")

    def end(self, tag: str) -> None:
        self.depth -= 1

    def close(self) -> None:
        pass


def _at_most(limit: int, given: int, what: str) -> None:
    if given > limit:
        raise _TooMuch(f"has more than {limit:,} {what}, the most that is accepted")


def _parse(name: str, data: bytes, target: _Limits | None) -> Element:
    """One pass over the bytes: into `target`, or into a tree."""
    parser = XMLParser(target=target, forbid_dtd=True)
    try:
        for start in range(0, len(data), CHUNK):
            parser.feed(data[start : start + CHUNK])
            held = min(start + CHUNK, len(data)) - parser.parser.CurrentByteIndex
            _at_most(MAX_TOKEN, held, "bytes in one tag or comment")
        return parser.close()
    except _TooMuch as error:
        raise ReportError(f"{name}: {error}") from None
    except DefusedXmlException:
        raise ReportError(f"{name}: declares a document type or entities; a report has none") from None
    except ParseError as error:
        line, column = error.position
        kind = (
            "ends in the middle, so it is truncated or damaged"
            if _at_end(error)
            else "is not well-formed XML"
        )
        reason = printable(str(error)).partition(":")[0]
        raise ReportError(f"{name}: {kind} ({reason}, line {line}, column {column})") from None
    except (ValueError, LookupError, RecursionError) as error:
        raise ReportError(f"{name}: is not readable as XML ({printable(str(error))})") from None


def _at_end(error: ParseError) -> bool:
    return error.code in (3, 5, 20)  # expat: no element found, unclosed token, unclosed CDATA section
