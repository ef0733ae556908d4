"""The envelope: DSSE v1.0 (secure-systems-lab/dsse, envelope.md and protocol.md), one Ed25519 signature.

Stricter than DSSE asks: exactly its fields, exactly one signature, base64 in its one form. What no signature
covers must not be able to carry a meaning.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .jsontext import readable, strict
from .refused import Refused, short, shown

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, SSlibKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_BYTES = 4 * 2**20  # waivers, the one part without a fixed size, take less than half of that
_FIELDS, _SIGNATURE_FIELDS = ("payload", "payloadType", "signatures"), ("keyid", "sig")
_SIGNATURE_BYTES = 64


def seal(payload: bytes, signer: "CryptoSigner") -> bytes:
    """The certificate's bytes: this payload, signed. The same payload and key give the same bytes."""
    from securesystemslib.dsse import Envelope

    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return readable(envelope.to_dict())


def unseal(data: bytes, keys: Sequence["SSlibKey"]) -> tuple[bytes, str]:
    """The payload and the id of the key, one of these, that signed it. Raises Refused, and ReportError for
    what is no JSON.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import Signature

    payload, keyid, signature = parse(data)
    trusted = [key for key in keys if key.keyid == keyid]
    if not trusted:
        raise Refused(
            f"is signed with key {short(keyid)}, a foreign key: it is none of "
            f"those given ({', '.join(short(key.keyid) for key in keys) or 'none'})"
        )
    envelope = Envelope(payload, PAYLOAD_TYPE, {keyid: Signature(keyid, signature.hex())})
    try:
        envelope.verify(trusted, threshold=1)
    except VerificationError:
        raise Refused(
            f"the signature is not that of key {short(keyid)}: certificate or signature was changed"
        ) from None
    return payload, keyid


def parse(data: bytes) -> tuple[bytes, str, bytes]:
    """Payload, key id and signature of an envelope, none of them verified. Raises Refused and ReportError."""
    envelope = _exactly(strict(data, "the certificate"), _FIELDS, "the certificate")
    if envelope["payloadType"] != PAYLOAD_TYPE:
        raise Refused(f"payloadType is {shown(envelope['payloadType'])}; expected {PAYLOAD_TYPE!r}")
    signatures = envelope["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise Refused(f"signatures is {shown(signatures)}; expected a list of exactly one signature")
    signature = _exactly(signatures[0], _SIGNATURE_FIELDS, "the signature")
    if not isinstance(signature["keyid"], str):
        raise Refused(f"keyid is {shown(signature['keyid'])}; expected the signing key's id")
    raw = _base64(signature["sig"], "sig")
    if len(raw) != _SIGNATURE_BYTES:
        raise Refused(f"sig is {len(raw)} bytes; expected an Ed25519 signature, {_SIGNATURE_BYTES}")
    return _base64(envelope["payload"], "payload"), signature["keyid"], raw


def _exactly(value: Any, fields: tuple[str, ...], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"{what} is {shown(value)}; expected an object of {', '.join(fields)}")
    for name in fields:
        if name not in value:
            raise Refused(f"{what} has no field {name!r}; expected {', '.join(fields)}")
    for name in value:
        if name not in fields:
            raise Refused(f"{what} has an unknown field {shown(name)}; expected {', '.join(fields)}")
    return value


def _base64(text: Any, what: str) -> bytes:
    """Decoded, where encoding gives these very characters again: else one signature would fit two files."""
    if not isinstance(text, str):
        raise Refused(f"{what} is {shown(text)}; expected base64")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if base64.b64encode(data).decode() != text:
        raise Refused(f"{what} is not in standard base64 with padding")
    return data
