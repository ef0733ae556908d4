"""A certificate with all that it is verified against, for tests to spoil one thing of it."""

import base64
import datetime
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reports.certificate import attest, generate, load_public, load_signer, verify
from reports.certificate.against import NOTHING, Against
from reports.certificate.envelope import seal
from reports.certificate.evidence import Certificate
from reports.certificate.jsontext import canonical

from ..build import Draft

LAYER = "layer/mixtral/float32/zipf"
MADE = datetime.datetime(2026, 3, 1, 12, 0, 0, tzinfo=datetime.timezone.utc)
SOURCES = {
    "tritonmoe/__init__.py": b"",
    "tritonmoe/layer.py": b"def layer(): ...\n",
    "conformance/__init__.py": b"",
    "conformance/test_matrix.py": b"# the matrix\n",
}
WAIVERS = f"""
[[waiver]]
cases = ["{LAYER}"]
architectures = ["gfx942"]
reason = "known"
issue = "https://example.org/issues/7"
owner = "Ada"
expires = 2026-04-30
"""


@dataclass
class Scene:
    """Everything that one verification takes. Tests change fields and files; each scene has its own."""

    folder: Path
    envelope: bytes = b""
    keys: list = field(default_factory=list)
    left: Path = Path()
    right: Path = Path()
    against: Against = NOTHING
    now: datetime.datetime = MADE + datetime.timedelta(days=1)

    def verify(self) -> Certificate:
        return verify(self.envelope, self.keys, self.left, self.right, self.against, self.now)

    @property
    def signer(self):
        return load_signer(self.folder / "team.key")

    @property
    def foreign(self):
        return load_signer(self.folder / "foreign.key")

    @property
    def statement(self) -> dict[str, Any]:
        return json.loads(base64.b64decode(json.loads(self.envelope)["payload"]))

    def resource(self, statement: dict[str, Any], name: str) -> dict[str, Any]:
        return next(each for each in statement["predicate"]["configuration"] if each["name"] == name)

    def edit(self, **fields: Any) -> None:
        """Sets fields of the envelope; None removes one."""
        envelope = {**json.loads(self.envelope), **fields}
        self.envelope = json.dumps({k: v for k, v in envelope.items() if v is not None}).encode()

    def edit_signature(self, **fields: Any) -> None:
        (signature,) = json.loads(self.envelope)["signatures"]
        self.edit(signatures=[{**signature, **fields}])

    def say(self, change: Callable[[dict[str, Any]], Any], signer=None) -> None:
        """Changes the statement and signs it again, with the trusted key if no other is given."""
        statement = self.statement
        change(statement)
        self.sign(canonical(statement), signer)

    def sign(self, payload: bytes, signer=None) -> None:
        self.envelope = seal(payload, signer or self.signer)

    def spoil_right(self, change: Callable[[Draft], Any]) -> None:
        """Another right report, and a certificate, signed with the trusted key, that names it by its
        digest.
        """
        draft = Draft("gfx942").claim(source__digest=digest_of_sources())
        change(draft)
        draft.write(self.right)
        self.name_right()

    def name_right(self) -> None:
        digest = {"sha256": hashlib.sha256(self.right.read_bytes()).hexdigest()}
        self.say(lambda statement: self.resource(statement, "right.xml").update(digest=digest))


def build(folder: Path, waived: bool = False) -> Scene:
    """A sound scene: keys, reports, sources, wheel, waivers and power file, and their certificate."""
    for name in ("team", "foreign"):
        generate(folder / name)
    digest = digest_of_sources()
    left = Draft("cuda").claim(source__digest=digest).write(folder / "cuda.xml")
    right = Draft("gfx942").claim(source__digest=digest)
    right = (right.fail(LAYER) if waived else right).write(folder / "gfx942.xml")
    tree = write_tree(folder / "tree")
    wheel = folder / "tritonmoe-0.1.0-py3-none-any.whl"
    wheel.write_bytes(wheel_of(SOURCES))
    power = write_power(folder / "power.json", digest)
    waivers = folder / "waivers.toml"
    waivers.write_text(WAIVERS)
    scene = Scene(folder, keys=[load_public(folder / "team.pub")], left=left, right=right)
    scene.against = Against(tree, wheel, waivers if waived else None, power)
    scene.envelope = attest(
        left,
        right,
        scene.signer,
        wheel=wheel,
        waivers=waivers if waived else None,
        power=power,
        url="https://example.org/runs/1",
        made=MADE,
    ).envelope
    return scene


def digest_of_sources() -> str:
    text = "".join(f"{name}\0{hashlib.sha256(data).hexdigest()}\n" for name, data in SOURCES.items())
    return hashlib.sha256(text.encode()).hexdigest()


def write_tree(folder: Path) -> Path:
    for name, data in SOURCES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def wheel_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in files.items():
            wheel.writestr(name, data)
        wheel.writestr("tritonmoe-0.1.0.dist-info/METADATA", "Name: tritonmoe\n")
    return buffer.getvalue()


def write_power(path: Path, source_digest: str | None, survivors: int = 0) -> Path:
    faults = [("a", "compare", True), ("b", "stride", True), ("c", "named", True), ("d", "mask", False)]
    faults += [(f"s{n}", "mask", False) for n in range(survivors)]
    mutants = [
        {
            "id": name,
            "where": "combine.py:3",
            "operator": operator,
            "description": "",
            "diff": "",
            "killed": killed,
            "by": LAYER if killed else "",
            "how": "bound" if killed else "",
            **({"equivalent": "the mask is never partial"} if name == "d" else {}),
        }
        for name, operator, killed in faults
    ]
    head = {"platform": "gfx942", "seed": 7}
    if source_digest:
        head["source.digest"] = source_digest
    path.write_text(json.dumps({**head, "mutants": mutants}))
    return path
