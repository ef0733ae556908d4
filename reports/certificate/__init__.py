"""Certificates of parity: signed, and worth only what verifying them against the reports finds.

from reports.certificate import attest, load_public, load_signer, verify
certificate = attest("cuda.xml", "rocm.xml", load_signer("team.key"))
verify(certificate.envelope, [load_public("team.pub")], "cuda.xml", "rocm.xml")  # raises Refused
"""

from .bundle import pack, verify_bundle
from .evidence import Certificate
from .keys import generate, load_public, load_signer
from .making import attest
from .refused import Refused
from .statement import PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE
from .verifying import verify

__all__ = [
    "PAYLOAD_TYPE",
    "PREDICATE_TYPE",
    "STATEMENT_TYPE",
    "Certificate",
    "Refused",
    "attest",
    "generate",
    "load_public",
    "load_signer",
    "pack",
    "verify",
    "verify_bundle",
]
