"""What a certificate is compared with besides the reports, where it is at hand: a checkout and the files it
names."""

import os
from dataclasses import dataclass

from ..power import MAX_BYTES as MAX_POWER
from ..untrusted import file_bytes
from ..waivers import MAX_BYTES as MAX_WAIVERS
from ..wording import printable
from . import sources
from .evidence import Claims, other, read_power, read_wheel, sha256
from .refused import Refused, short

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class Against:
    """Files to compare with, each where it is given. `listing` is of the sources that were certified, to name
    what is other in a stale tree.
    """

    tree: Path | None = None
    wheel: Path | None = None
    waivers: Path | None = None
    power: Path | None = None
    listing: sources.Listing | None = None


NOTHING = Against()


def compare_files(claims: Claims, source_digest: str, against: Against) -> tuple[str, ...]:
    """What was compared, in words. Raises Refused if something differs, ReportError if it cannot be read."""
    checked = []
    if against.tree is not None:
        _tree(against.tree, source_digest, against.listing)
        checked.append(f"the sources in {printable(os.fspath(against.tree))}")
    if against.wheel is not None:
        _same("the wheel", against.wheel, sources.MAX_WHEEL, claims.wheel and claims.wheel.sha256)
        found = read_wheel(against.wheel, source_digest)
        if found != claims.wheel:  # the name too: it carries the version
            raise Refused(f"the wheel is {found.name}, and what was certified is called {claims.wheel.name}")
        checked.append("the wheel")
    if against.waivers is not None:
        certified = None if claims.waivers is None else sha256(claims.waivers)
        _same("the waivers file", against.waivers, MAX_WAIVERS, certified)
        checked.append("the waivers file")
    if against.power is not None:
        _same("the power file", against.power, MAX_POWER, claims.power and claims.power.sha256)
        if read_power(against.power, source_digest) != claims.power:
            raise Refused("the counts of faults in the certificate are not those in the power file")
        checked.append("the power file")
    return tuple(checked)


def _tree(tree: Path, certified: str, listing: sources.Listing | None) -> None:
    found = sources.of_tree(tree)
    digest = sources.digest_of(found)
    if digest != certified:
        where = f"; other: {sources.difference(found, listing)}" if listing else ""
        raise Refused(
            f"stale: the sources in {printable(os.fspath(tree))} have the digest {short(digest)}, those that "
            f"were certified {short(certified)}{where}; check those out"
        )


def _same(what: str, path: Path, limit: int, certified: str | None) -> None:
    if certified is None:
        raise Refused(
            f"the certificate says nothing of {what}, so {printable(os.fspath(path))} is not certified"
        )
    given = sha256(file_bytes(path, limit))
    if given != certified:
        raise other(what, given, certified)
