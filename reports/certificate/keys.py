"""Ed25519 keys in PEM files: the private one in PKCS #8, the public one as SubjectPublicKeyInfo.

A key's id is what securesystemslib derives from the public key, so that both sides know it without agreeing.
The library is imported where it is used: a verdict needs none of it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..model import ReportError
from ..untrusted import file_bytes
from ..wording import printable

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, SSlibKey

MAX_BYTES = 2**14


def generate(name: str | os.PathLike[str]) -> tuple[Path, Path, str]:
    """Writes a new pair, NAME.key (mode 0600) and NAME.pub; returns both paths and the key's id.

    Raises ReportError if either is there already: a key that something is signed with is never lost to a
    slip.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from securesystemslib.signer import CryptoSigner

    private, public = (Path(f"{os.fspath(name)}{ending}") for ending in (".key", ".pub"))
    key = Ed25519PrivateKey.generate()
    signer = CryptoSigner(key)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for path in (private, public):
        if os.path.lexists(path):
            raise ReportError(f"{printable(str(path))}: is there already; choose another name")
    for path, content, mode in ((private, signer.private_bytes, 0o600), (public, pem, 0o644)):
        _create(path, content, mode)
    return private, public, signer.public_key.keyid


def load_signer(path: str | os.PathLike[str]) -> "CryptoSigner":
    """The private key in this file. Raises ReportError."""
    return signer_of(file_bytes(path, MAX_BYTES), printable(os.fspath(path)))


def signer_of(pem: bytes, name: str) -> "CryptoSigner":
    """The private key in this PEM text, called `name` in errors. Raises ReportError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from securesystemslib.signer import CryptoSigner

    if b"PUBLIC KEY" in pem:
        raise ReportError(f"{name}: is a public key; signing needs the private one, NAME.key")
    try:
        key = _private_of(pem)
    except TypeError:
        raise ReportError(f"{name}: is encrypted; decrypt it first, with openssl pkey") from None
    except ValueError:
        raise ReportError(f"{name}: is no private key in PEM; make one with tritonmoe keygen") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ReportError(f"{name}: is no Ed25519 key; make one with tritonmoe keygen")
    return CryptoSigner(key)


def load_public(path: str | os.PathLike[str]) -> "SSlibKey":
    """The public key in this file. Raises ReportError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    name = printable(os.fspath(path))
    pem = file_bytes(path, MAX_BYTES)
    if b"PRIVATE KEY" in pem:
        raise ReportError(f"{name}: is a private key; verifying takes the public one, NAME.pub")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ReportError(f"{name}: is no public key in PEM, as tritonmoe keygen writes it") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ReportError(f"{name}: is no Ed25519 key; certificates are signed with no other")
    return SSlibKey.from_crypto(key)


def _private_of(pem: bytes):
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(pem, password=None)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None


def _create(path: Path, content: bytes, mode: int) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    except OSError as error:
        reason = printable(error.strerror or str(error))
        raise ReportError(f"{printable(str(path))}: cannot be written ({reason})") from None
