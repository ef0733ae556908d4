"""The rule of a report's source.digest, so that a tree or a wheel can be compared with what was certified.

The suite has the rule in conformance/environment.py; here it is once more, because a verifier takes nothing
from what it judges. A test of the suite holds both to the same digest. Over the files with the endings .py
and .json of tritonmoe/ and then conformance/, each in the order of its path's parts, one line is hashed with
SHA-256: the path from the root with "/", a zero byte, the hexadecimal SHA-256 of the content, a newline.
"""

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..model import ReportError
from ..untrusted import file_bytes
from ..wording import printable
from .refused import Refused, shown

ROOTS = ("tritonmoe", "conformance")
ENDINGS = (".py", ".json")
_BESIDE = ("platforms", "gfx942", "power", "commands.py", "corpus.json", "found.json")
MAX_WHEEL = 64 * 2**20
MAX_FILE = 64 * 2**20

Listing = Sequence[tuple[str, str]]  # path, SHA-256 of the content


def covered(path: str) -> bool:
    """Whether the digest covers this path, given from the root with "/".

    Left out: what times and tunes, platforms with the emulator, mutants, command lines, the corpus (it has a
    digest of its own), and the tests beside the matrix.
    """
    root, *rest = path.split("/")
    if root not in ROOTS or not rest or not all(rest) or os.path.splitext(rest[-1])[1] not in ENDINGS:
        return False
    if root == "tritonmoe":
        return rest[0] != "speed"
    test_beside = rest[-1].startswith("test_") and rest[-1] != "test_matrix.py"
    return not test_beside and rest[0] not in _BESIDE


def in_order(paths: Iterable[str]) -> list[str]:
    """The order in which the digest takes them."""
    return sorted(paths, key=lambda path: (ROOTS.index(path.split("/")[0]), path.split("/")))


def digest_of(listing: Listing) -> str:
    """The source.digest of these files, which must be in order."""
    return hashlib.sha256("".join(f"{path}\0{sha}\n" for path, sha in listing).encode()).hexdigest()


def is_checkout(folder: Path) -> bool:
    return all((folder / root / "__init__.py").is_file() for root in ROOTS)


def current_checkout() -> Path | None:
    """The checkout that the working directory is in, if it is in one."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if is_checkout(folder)), None)


def of_tree(folder: str | os.PathLike[str]) -> Listing:
    """The covered files of a checkout. Raises ReportError where there is none."""
    top = Path(folder)
    name = printable(os.fspath(folder))
    if not is_checkout(top):
        raise ReportError(f"{name}: is no checkout; expected the folders {' and '.join(ROOTS)} in it")
    try:
        found = (path.relative_to(top).as_posix() for root in ROOTS for path in (top / root).rglob("*"))
        paths = in_order(path for path in found if covered(path))
        return [(path, hashlib.sha256(file_bytes(top / path, MAX_FILE)).hexdigest()) for path in paths]
    except OSError as error:
        raise ReportError(f"{name}: cannot be read ({printable(error.strerror or str(error))})") from None


def of_wheel(data: bytes, name: str) -> Listing:
    """The covered files in a wheel's bytes, called `name` in errors. Raises ReportError, and Refused for a
    wheel with files that could stand in for them.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as wheel:
            _check_names(wheel.namelist(), name)
            infos = [info for info in wheel.infolist() if covered(info.filename)]
            if sum(info.file_size for info in infos) > MAX_WHEEL:
                raise ReportError(f"{name}: unpacks to more than {MAX_WHEEL:,} bytes of sources")
            paths = in_order(info.filename for info in infos)
            if len(set(paths)) != len(paths):
                raise ReportError(f"{name}: holds a source file twice")
            return [(path, hashlib.sha256(_content(wheel, path)).hexdigest()) for path in paths]
    except (
        zipfile.BadZipFile,
        zlib.error,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        OverflowError,
    ) as error:
        raise ReportError(f"{name}: is no wheel ({printable(str(error), 120)})") from None


def _check_names(names: Iterable[str], wheel: str) -> None:
    """No file that would run in place of a hashed one: installers move .data, Python prefers .so to .py."""
    for each in names:
        parts = each.removesuffix("/").split("/")
        known = parts[0] in (*ROOTS, "reports") or parts[0].endswith(".dist-info")
        odd = "\\" in each or any(part in ("", ".", "..") for part in parts)
        if not known or odd or each.lower().endswith((".so", ".pyd", ".pyc", ".pth")):
            raise Refused(f"{wheel}: holds {shown(each)}, for which the sources' digest cannot vouch")


def _content(wheel: zipfile.ZipFile, path: str) -> bytes:
    """Never more than the directory says, which was counted: a read without a size inflates first."""
    info = wheel.getinfo(path)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise NotImplementedError("neither stored nor deflated")
    with wheel.open(info) as file:
        return file.read(info.file_size)


def difference(ours: Listing, theirs: Listing) -> str:
    """Which files differ, the first few by name; "" if none."""
    names = in_order({path for path, _ in set(ours) ^ set(theirs)})
    rest = f" and {len(names) - 3} more" if names[3:] else ""
    return ", ".join(printable(name, 120) for name in names[:3]) + rest
