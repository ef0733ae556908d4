"""The submission package: a zip of six files that a verifier takes whole, and nothing else.

Stored without compression, in a fixed order, without times: the same evidence gives the same bytes on every
machine, and a package is refused unless writing its six files again gives these very bytes. So there is no
room for a second file of a name, a path that leaves the folder, bytes between the files, or a bomb.
"""

import io
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..jsonfile import DIGEST
from ..model import Report, ReportError
from ..untrusted import MAX_BYTES as MAX_REPORT
from ..untrusted import file_bytes
from ..wording import printable
from . import sources
from .against import NOTHING, Against, compare_files
from .envelope import MAX_BYTES, parse, unseal
from .evidence import Certificate, sha256
from .jsontext import readable, strict
from .refused import Refused, shown
from .statement import environment_of
from .verifying import check, verify

if TYPE_CHECKING:
    import datetime

    from securesystemslib.signer import SSlibKey

LEFT, RIGHT, CERTIFICATE = "left.xml", "right.xml", "certificate.json"
LIMITS = {  # the six files, in the package's order, and the most that each may hold
    LEFT: MAX_REPORT,
    RIGHT: MAX_REPORT,
    "environment.json": 2**20,
    "source.json": 16 * 2**20,
    "statement.json": MAX_BYTES,
    CERTIFICATE: MAX_BYTES,
}
MAX_PACKAGE = sum(LIMITS.values()) + 2**16
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold

Pathname = str | os.PathLike[str]


def pack(
    left: Pathname,
    right: Pathname,
    certificate: Pathname,
    *,
    tree: Pathname | None = None,
    keys: Sequence["SSlibKey"] | None = None,
    now: "datetime.datetime | None" = None,
) -> bytes:
    """The package's bytes. Everything is verified first, the signature where `keys` are given. With `tree`
    the package lists the certified sources file by file.

    Raises Refused and ReportError as `verify` does.
    """
    envelope = file_bytes(certificate, MAX_BYTES)
    payload = parse(envelope)[0] if keys is None else unseal(envelope, keys)[0]
    _, parity, _ = check(payload, left, right, Against(tree=tree), now)
    listing = None if tree is None else sources.of_tree(tree)
    texts = [file_bytes(path, MAX_REPORT) for path in (left, right)]
    if [sha256(text) for text in texts] != [report.digest for report in parity.reports]:
        raise Refused("a report was changed while it was being packed")
    if listing is not None and sources.digest_of(listing) != parity.reports[0].environment.source_digest:
        raise Refused("the sources were changed while they were being packed")
    return _zipped(_members(texts, parity.reports, listing, payload, envelope))


def verify_bundle(
    path: Pathname,
    keys: Sequence["SSlibKey"],
    against: Against = NOTHING,
    now: "datetime.datetime | None" = None,
) -> Certificate:
    """The certificate in this package, a zip or the folder that it unpacks to, verified as `verify` does and
    with every other file in it. Raises as `verify` does.
    """
    name = printable(os.fspath(path))
    members = _folder(Path(path), name) if os.path.isdir(path) else _unzipped(path, name)
    with tempfile.TemporaryDirectory() as folder:
        left, right = (Path(folder, each) for each in (LEFT, RIGHT))
        left.write_bytes(members[LEFT])
        right.write_bytes(members[RIGHT])
        try:
            found = verify(members[CERTIFICATE], keys, left, right, NOTHING, now)
        except (Refused, ReportError) as error:
            raise type(error)(str(error).replace(f"{folder}{os.sep}", "")) from None
    listing = _listing(members["source.json"])
    expected = _members(
        [members[LEFT], members[RIGHT]], found.parity.reports, listing, found.payload, found.envelope
    )
    for each in LIMITS:
        if members[each] != expected[each]:
            raise Refused(f"{each} in the package does not follow from its reports and certificate")
    source_digest = found.parity.reports[0].environment.source_digest
    if listing is not None and sources.digest_of(listing) != source_digest:
        raise Refused("the files listed in source.json are not the sources that were certified")
    checked = compare_files(found.claims, source_digest, replace(against, listing=listing))
    return replace(found, checked=checked)


def _members(
    texts: Sequence[bytes],
    reports: Sequence[Report],
    listing: sources.Listing | None,
    payload: bytes,
    envelope: bytes,
) -> dict[str, bytes]:
    """The six files by name, in the package's order."""
    environments = [report.environment for report in reports]
    source: dict[str, Any] = {
        "digest": environments[0].source_digest,
        "commit": {"left": environments[0].commit, "right": environments[1].commit},
    }
    if listing is not None:
        source["files"] = [{"name": name, "sha256": sha} for name, sha in listing]
    environment = {"left": environment_of(environments[0]), "right": environment_of(environments[1])}
    contents = (texts[0], texts[1], readable(environment), readable(source), payload, envelope)
    return dict(zip(LIMITS, contents, strict=True))


def _zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as package:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3  # Unix, so that it is the same wherever it is made
            info.external_attr = 0o100644 << 16
            package.writestr(info, content)
    return buffer.getvalue()


def _unzipped(path: Pathname, name: str) -> dict[str, bytes]:
    data = file_bytes(path, MAX_PACKAGE)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            infos = package.infolist()
            _check_names([info.filename for info in infos])
            for info in infos:
                if info.compress_type != zipfile.ZIP_STORED:
                    raise Refused(
                        f"{info.filename} in the package is compressed; expected it stored as it is"
                    )
                _check_size(info.filename, info.file_size)
            members = {each: package.read(each) for each in LIMITS}
    except (zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, OverflowError) as error:
        raise ReportError(f"{name}: is no sound zip file ({printable(str(error), 120)})") from None
    if _zipped(members) != data:
        raise Refused(
            "the package is not as tritonmoe bundle writes it: it holds something besides its six files"
        )
    return members


def _folder(folder: Path, name: str) -> dict[str, bytes]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise ReportError(f"{name}: cannot be read ({printable(error.strerror or str(error))})") from None
    _check_names(names)
    return {each: file_bytes(folder / each, limit) for each, limit in LIMITS.items()}


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name not in LIMITS:
            raise Refused(f"the package holds {shown(name)}; expected {', '.join(LIMITS)} and nothing else")
        if names.count(name) > 1:
            raise Refused(f"the package holds {name} twice")
    for name in LIMITS:
        if name not in names:
            raise Refused(f"the package has no {name}")


def _check_size(name: str, size: int) -> None:
    if size > LIMITS[name]:
        raise Refused(
            f"{name} in the package is larger than {LIMITS[name]:,} bytes, the most that is accepted"
        )


def _listing(data: bytes) -> sources.Listing | None:
    """The files listed in source.json, in their order; None if none are. Raises Refused."""
    try:
        document = strict(data, "source.json")
    except ReportError as error:
        raise Refused(str(error)) from None
    given = document.get("files") if isinstance(document, dict) else None
    if given is None:
        return None
    rows = [tuple(each.values()) for each in given] if _are_rows(given) else [("", "")]
    for name, digest in rows:
        # A newline in either could make one row stand for two files with the same digest.
        if not sources.covered(name) or not name.isprintable():
            raise Refused(
                f"source.json lists {shown(name)}, which is no source file of the layer or the suite"
            )
        if not DIGEST.fullmatch(digest):
            raise Refused(f"source.json gives {shown(digest)} for {name}; expected a SHA-256")
    return rows


def _are_rows(given: Any) -> bool:
    return isinstance(given, list) and all(
        isinstance(each, dict)
        and list(each) == ["name", "sha256"]
        and all(isinstance(value, str) for value in each.values())
        for each in given
    )
