"""From a path to an XML tree that is small, flat and free of DTDs and entities, or a ReportError.

A report may come from anybody. The bytes are counted before they are parsed, and every limit is checked, as
the parser streams, before what it concerns is added to the tree.
"""

import hashlib
import os
import stat
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

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
    return _parse(name, data), hashlib.sha256(data).hexdigest()


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


class _Limited:
    """A parser target that builds a tree and raises _TooMuch at the first excess, before keeping it.

    Its methods are closures: they are called for every tag, and what they count is at hand there.
    """

    def __init__(self) -> None:
        tree = TreeBuilder()
        add, add_text, finish = tree.start, tree.data, tree.end
        depth = elements = testcases = properties = text = 0

        def start(tag: str, attributes: dict[str, str]) -> None:
            nonlocal depth, elements, testcases, properties, text
            depth += 1
            elements += 1
            text = 0
            if tag == "property":
                properties += 1
            elif tag in ("testcase", "testsuite"):
                properties = 0
                testcases += tag == "testcase"
            longest = max(map(len, attributes.values()), default=0)
            if (
                depth > MAX_DEPTH
                or elements > MAX_ELEMENTS
                or testcases > MAX_TESTCASES
                or properties > MAX_PROPERTIES
                or len(attributes) > MAX_ATTRIBUTES
                or longest > MAX_TEXT
            ):
                _at_most(MAX_DEPTH, depth, "levels of elements")
                _at_most(MAX_ELEMENTS, elements, "elements")
                _at_most(MAX_TESTCASES, testcases, "testcases")
                _at_most(MAX_PROPERTIES, properties, "properties of one testcase")
                _at_most(MAX_ATTRIBUTES, len(attributes), "attributes of one element")
                _at_most(MAX_TEXT, longest, "characters in an attribute")
            add(tag, attributes)

        def data(piece: str) -> None:
            nonlocal text
            text += len(piece)
            _at_most(MAX_TEXT, text, "characters of text in an element")
            add_text(piece)

        def end(tag: str) -> None:
            nonlocal depth
            depth -= 1
            finish(tag)

        self.start, self.data, self.end, self.close = start, data, end, tree.close


def _at_most(limit: int, given: int, what: str) -> None:
    if given > limit:
        raise _TooMuch(f"has more than {limit:,} {what}, the most that is accepted")


def _parse(name: str, data: bytes) -> Element:
    target = _Limited()
    parser = XMLParser(target=target, forbid_dtd=True)
    # Without the layer between them, which is there for namespaces: no name in a report has one.
    parser.parser.ordered_attributes = False
    parser.parser.StartElementHandler, parser.parser.EndElementHandler = target.start, target.end
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
