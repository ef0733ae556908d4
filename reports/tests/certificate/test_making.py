"""Keys and certificates as they are made: what is certified, what is not, and that others can read it."""

import base64
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from google.protobuf.json_format import MessageToDict, ParseDict
from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult as ResultPredicate
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from reports import ReportError
from reports.certificate import PREDICATE_TYPE, Refused, attest, generate, load_public, load_signer, sources
from reports.matrix import REQUIRED

from ..build import Draft
from .scene import LAYER, MADE, SOURCES, WAIVERS, Scene, digest_of_sources, wheel_of, write_power

ROOT = Path(__file__).parents[3]
EVIDENCE = ROOT / "reports" / "evidence"
AGREE = "cuda (hardware) and gfx942 (emulated) agree on 162 of 162 cases"


@pytest.fixture(scope="module")
def current(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The kept evidence, as if both reports had been made of this tree."""
    folder = tmp_path_factory.mktemp("evidence")
    digest = sources.digest_of(sources.of_tree(ROOT))
    made = []
    for name in ("cuda-h200.xml", "gfx942-emulated.xml"):
        tree = ET.parse(EVIDENCE / name)
        next(each for each in tree.iter("property") if each.get("name") == "source.digest").set(
            "value", digest
        )
        tree.write(folder / name)
        made.append(folder / name)
    return made[0], made[1]


def _tritonmoe(folder: Path, *arguments: object, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reports", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, **options)


def test_a_certificate_of_the_real_evidence_is_verified_on_another_checkout(
    current: tuple[Path, Path], tmp_path: Path
):
    elsewhere = tmp_path / "elsewhere"
    for package in ("tritonmoe", "conformance", "reports"):
        left_out = shutil.ignore_patterns("__pycache__", "evidence", "tests")
        shutil.copytree(ROOT / package, elsewhere / package, ignore=left_out)
    assert _tritonmoe(ROOT, "keygen", "-o", tmp_path / "team").returncode == 0
    certificate, package = tmp_path / "certificate.json", tmp_path / "parity.zip"
    made = _tritonmoe(ROOT, "attest", *current, "--key", tmp_path / "team.key", "-o", certificate)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.startswith(f"CERTIFIED PARITY: {AGREE}")
    packed = _tritonmoe(ROOT, "bundle", *current, "--cert", certificate, "--tree", ROOT, "-o", package)
    assert (packed.returncode, packed.stderr) == (0, "")

    verify = ("verify", package, "--key", tmp_path / "team.pub")
    done = _tritonmoe(elsewhere, *verify)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"VERIFIED PARITY: {AGREE}")
    assert f"the same as the sources in {elsewhere}" in done.stdout

    (elsewhere / "tritonmoe" / "router.py").write_text("# another router\n")
    stale = _tritonmoe(elsewhere, *verify)
    assert (stale.returncode, stale.stdout) == (1, "")
    assert stale.stderr.startswith(f"REFUSED: stale: the sources in {elsewhere} have the digest")
    assert "other: tritonmoe/router.py" in stale.stderr


def test_in_totos_own_parsers_take_the_statement(scene: Scene):
    """They refuse unknown fields and values of another type."""
    statement = scene.statement
    parsed = ParseDict(statement, StatementMessage())
    Statement.copy_from_pb(parsed).validate()
    assert parsed.predicate_type == PREDICATE_TYPE
    predicate = MessageToDict(ParseDict(statement["predicate"], ResultPredicate()))
    assert predicate["result"] == "PASSED"
    assert predicate["passedTests"] == list(REQUIRED)
    assert all(each["digest"]["sha256"] for each in predicate["configuration"])


def test_the_signature_is_one_over_the_bytes_that_dsse_says(scene: Scene):
    """Checked with the public key alone: DSSE v1.0, protocol.md."""
    envelope = json.loads(scene.envelope)
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    key = load_pem_public_key((scene.folder / "team.pub").read_bytes())
    key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), signed)


def test_the_same_files_key_and_time_give_the_same_bytes(scene: Scene):
    made = [attest(scene.left, scene.right, scene.signer, made=MADE).envelope for _ in range(2)]
    assert made[0] == made[1]
    assert made[0] != attest(scene.left, scene.right, scene.foreign, made=MADE).envelope


def test_a_statement_says_what_was_tested_on_what_and_how_it_came_out(scene: Scene):
    statement = scene.statement
    assert [each["name"] for each in statement["subject"]] == ["tritonmoe-sources", scene.against.wheel.name]
    wheel = hashlib.sha256(scene.against.wheel.read_bytes()).hexdigest()
    assert statement["subject"][1]["digest"] == {"sha256": wheel}
    assert scene.resource(statement, "right.environment")["annotations"]["evidence"] == "emulated"
    told = scene.resource(statement, "matrix")["annotations"]
    assert (told["required"], told["passed"], told["skipped"], told["missing"], told["waived"]) == (
        162,
        162,
        0,
        0,
        0,
    )
    assert 0 < told["farthestDistance"] <= 1
    assert told["made"] == "2026-03-01T12:00:00Z"
    power = scene.resource(statement, "power.json")["annotations"]
    assert power["operators"] == {"faults": 3, "killed": 2, "equivalent": 1, "survived": 0}
    assert power["named"] == {"faults": 1, "killed": 1, "equivalent": 0, "survived": 0}


def test_a_waived_case_is_certified_as_a_warning(copy_of):
    predicate = copy_of(True).statement["predicate"]
    assert (predicate["result"], predicate["warnedTests"]) == ("WARNED", [LAYER])
    assert LAYER not in predicate["passedTests"]
    assert len(predicate["passedTests"]) == 161


def _attest(scene: Scene, **options):
    return attest(scene.left, scene.right, scene.signer, made=MADE, **options)


def _failing(scene: Scene) -> dict:
    Draft("gfx942").claim(source__digest=digest_of_sources()).fail(LAYER).write(scene.right)
    return {}


def _without_a_case(scene: Scene) -> dict:
    Draft("gfx942").claim(source__digest=digest_of_sources()).without(LAYER).write(scene.right)
    return {}


def _waived(scene: Scene, expires: str = "2026-04-30") -> dict:
    path = scene.folder / "waivers.toml"
    path.write_text(WAIVERS.replace("2026-04-30", expires))
    return {"waivers": path}


def _expired(scene: Scene) -> dict:
    return _failing(scene) | _waived(scene, expires="2026-02-28")


def _itself(scene: Scene) -> dict:
    scene.right.write_bytes(scene.left.read_bytes())
    return {}


def _stale_wheel(scene: Scene) -> dict:
    scene.against.wheel.write_bytes(wheel_of({**SOURCES, "tritonmoe/layer.py": b"old"}))
    return {"wheel": scene.against.wheel}


def _power(source_digest: str | None):
    return lambda scene: {"power": write_power(scene.folder / "p.json", source_digest)}


REFUSED = [
    ("a failed case", _failing, f"the reports give DIVERGENT, and only PARITY is certified: {LAYER}"),
    ("a missing case", _without_a_case, "the reports give INCOMPLETE, and only PARITY is certified"),
    ("a waiver that is not needed", _waived, "remove the waiver"),
    ("an expired waiver", _expired, "the reports give DIVERGENT, and only PARITY is certified"),
    ("a report with itself", _itself, "the same file, byte for byte"),
    ("a wheel of other sources", _stale_wheel, "holds other sources than the reports are of"),
    ("power of other sources", _power("0" * 64), "measured on other sources: 000000000000…"),
    ("power of unknown sources", _power(None), "measured on other sources: it does not say which"),
]


@pytest.mark.parametrize(("what", "prepare", "reason"), REFUSED, ids=[row[0] for row in REFUSED])
def test_only_what_holds_is_certified(scene: Scene, what: str, prepare, reason: str):
    options = prepare(scene)
    with pytest.raises(Refused) as refusal:
        _attest(scene, **options)
    assert reason in str(refusal.value)


UNREADABLE = [
    ("a link that is none", lambda s: {"url": "ftp://example.org"}, 'the URL is "ftp://example.org"'),
    ("a wheel of another name", lambda s: {"wheel": s.left}, "cuda.xml: is no wheel of tritonmoe"),
    ("power that is a report", lambda s: {"power": s.left}, "cuda.xml: is no JSON"),
    ("waivers that are a report", lambda s: {"waivers": s.left}, "cuda.xml: is no TOML"),
]


@pytest.mark.parametrize(("what", "prepare", "reason"), UNREADABLE, ids=[row[0] for row in UNREADABLE])
def test_what_cannot_be_read_is_named(scene: Scene, what: str, prepare, reason: str):
    with pytest.raises(ReportError) as error:
        _attest(scene, **prepare(scene))
    assert reason in str(error.value)


def test_a_new_pair_of_keys_is_private_and_never_written_over(tmp_path: Path):
    private, public, key_id = generate(tmp_path / "team")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert load_signer(private).public_key.keyid == load_public(public).keyid == key_id
    before = private.read_bytes()
    with pytest.raises(ReportError, match=r"team.key: is there already; choose another name"):
        generate(tmp_path / "team")
    private.rename(tmp_path / "kept")
    with pytest.raises(ReportError, match=r"team.pub: is there already"):
        generate(tmp_path / "team")
    assert (tmp_path / "kept").read_bytes() == before
    assert not private.exists()


def test_keys_that_cannot_be_written_are_named(tmp_path: Path):
    with pytest.raises(ReportError, match=r"team.key: cannot be written \(No such file or directory\)"):
        generate(tmp_path / "nowhere" / "team")


def _pem(key, password: str = "") -> bytes:
    how = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def _public_pem(key) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _unknown(kind: bytes) -> bytes:
    """A key by an algorithm that nobody has."""
    return b"-----BEGIN %s-----\nMBQwBwYDKgMEBQADCQAAAAAAAAAAAA==\n-----END %s-----\n" % (kind, kind)


ED25519, ECDSA = Ed25519PrivateKey.generate(), generate_private_key(SECP256R1())
KEYS = [
    (load_signer, _public_pem(ED25519), "is a public key; signing needs the private one"),
    (load_signer, b"hello", "is no private key in PEM"),
    (load_signer, _unknown(b"PRIVATE KEY"), "is no private key in PEM"),
    (load_signer, _pem(ED25519, "secret"), "is encrypted; decrypt it first"),
    (load_signer, _pem(ECDSA), "is no Ed25519 key"),
    (load_signer, bytes(2**15), "is larger than 16,384 bytes"),
    (load_public, _pem(ED25519), "is a private key; verifying takes the public one"),
    (load_public, b"hello", "is no public key in PEM"),
    (load_public, _unknown(b"PUBLIC KEY"), "is no public key in PEM"),
    (load_public, _public_pem(ECDSA), "is no Ed25519 key"),
]


@pytest.mark.parametrize(("load", "content", "reason"), KEYS, ids=range(len(KEYS)))
def test_a_key_of_another_kind_is_refused_by_name(tmp_path: Path, load, content, reason: str):
    path = tmp_path / "a.key"
    path.write_bytes(content)
    with pytest.raises(ReportError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: {reason}")
    assert os.linesep not in str(error.value)
