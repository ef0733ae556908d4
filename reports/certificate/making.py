"""Makes a certificate: judges two reports, states the outcome, signs the statement."""

import datetime
import os
from typing import TYPE_CHECKING

from ..model import ReportError
from ..reading import read
from ..untrusted import file_bytes
from ..waivers import MAX_BYTES as MAX_WAIVERS
from ..waivers import parse_waivers
from ..wording import printable
from . import evidence
from .envelope import seal
from .evidence import Certificate, Claims
from .jsontext import canonical
from .refused import shown
from .statement import build, is_url

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

Path = str | os.PathLike[str]


def attest(
    left: Path,
    right: Path,
    signer: "CryptoSigner",
    *,
    waivers: Path | None = None,
    wheel: Path | None = None,
    power: Path | None = None,
    url: str | None = None,
    made: datetime.datetime | None = None,
) -> Certificate:
    """A certificate of the PARITY of the two reports in these files, made at `made` (default: now, UTC). The
    same files, key and time give the same bytes.

    Raises Refused where the verdict is another or a file is of other sources, and ReportError for what cannot
    be read.
    """
    utc = datetime.timezone.utc
    made = (made or datetime.datetime.now(utc)).astimezone(utc).replace(microsecond=0)
    if url is not None and not is_url(url):
        raise ReportError(f"the URL is {shown(url)}; expected a link to the run, https://...")
    content = None if waivers is None else file_bytes(waivers, MAX_WAIVERS)
    excuses = () if content is None else parse_waivers(content, printable(os.fspath(waivers)))
    parity = evidence.judge(read(left), read(right), excuses, made.date())
    source_digest = parity.reports[0].environment.source_digest
    claims = Claims(
        made,
        url,
        None if wheel is None else evidence.read_wheel(wheel, source_digest),
        content,
        None if power is None else evidence.read_power(power, source_digest),
    )
    payload = canonical(build(parity, claims))
    return Certificate(seal(payload, signer), payload, signer.public_key.keyid, claims, parity)
