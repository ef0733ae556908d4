"""The submission package: taken whole, the same bytes on every machine, and nothing else in it."""

import hashlib
import io
import json
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports import ReportError
from reports.certificate import Refused, load_public, pack, verify_bundle
from reports.certificate import bundle as package_module
from reports.certificate.bundle import LIMITS
from reports.certificate.jsontext import readable

from .scene import SOURCES, Scene

Spoil = Callable[[dict[str, bytes]], Any]


def _packed(scene: Scene, **options: Any) -> bytes:
    path = scene.folder / "certificate.json"
    path.write_bytes(scene.envelope)
    return pack(scene.left, scene.right, path, now=scene.now, **options)


def _members(package: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(package)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def _zip(members: Iterable[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """As some other program might write it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as made:
        for name, content in members:
            made.writestr(zipfile.ZipInfo(name), content, compression)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def package(originals: dict[bool, Scene]) -> bytes:
    """A sound package, with the list of sources."""
    return _packed(originals[False], tree=originals[False].against.tree)


def _verify(scene: Scene, package: bytes, **options: Any):
    path = scene.folder / "parity.zip"
    path.write_bytes(package)
    return verify_bundle(path, scene.keys, now=scene.now, **options)


@pytest.mark.parametrize("with_tree", [False, True])
def test_a_package_is_verified_whole_as_a_zip_and_unpacked(scene: Scene, with_tree: bool):
    tree = scene.against.tree if with_tree else None
    package = _packed(scene, tree=tree, keys=scene.keys)
    assert list(_members(package)) == list(LIMITS)
    found = _verify(scene, package, against=scene.against)
    assert found.key_id == scene.keys[0].keyid
    assert found.checked[0].startswith("the sources in ")
    shutil.unpack_archive(scene.folder / "parity.zip", scene.folder / "unpacked")
    again = verify_bundle(scene.folder / "unpacked", scene.keys, now=scene.now)
    assert (again.payload, again.checked) == (found.payload, ())


def test_a_package_holds_the_reports_as_they_are_and_where_they_come_from(scene: Scene, package: bytes):
    members = _members(package)
    assert members["left.xml"] == scene.left.read_bytes()
    assert members["right.xml"] == scene.right.read_bytes()
    assert members["certificate.json"] == scene.envelope
    assert json.loads(members["statement.json"]) == scene.statement
    assert json.loads(members["environment.json"])["right"]["evidence"] == "emulated"
    source = json.loads(members["source.json"])
    assert [row["name"] for row in source["files"]] == list(SOURCES)
    assert source["digest"] == scene.statement["subject"][0]["digest"]["sha256"]


def test_the_same_evidence_gives_the_same_package(scene: Scene, package: bytes):
    assert _packed(scene, tree=scene.against.tree) == package
    with zipfile.ZipFile(io.BytesIO(package)) as opened:
        assert {info.date_time for info in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_every_python_writes_the_same_package():
    """By its digest, for the versions that this runs on must agree with each other."""
    made = package_module._zipped({name: name.encode() for name in LIMITS})
    assert hashlib.sha256(made).hexdigest() == (
        "d433d8d268656d127c8663370e542d05a493c1823a3d6b171455f7d3f45fa071"
    )


def test_a_stale_tree_is_told_by_the_names_of_its_files(scene: Scene, package: bytes):
    (scene.against.tree / "tritonmoe" / "layer.py").write_text("new")
    with pytest.raises(Refused, match=r"stale: .*; other: tritonmoe/layer.py; check those out"):
        _verify(scene, package, against=scene.against)


def _foreign_key(scene: Scene) -> None:
    scene.keys[0] = load_public(scene.folder / "foreign.pub")


PACKING: list[tuple[str, Callable[[Scene], Any], str]] = [
    ("another report", lambda s: s.right.write_bytes(b"<x/>"), "the right report is not the file"),
    ("a foreign key", _foreign_key, "a foreign key"),
    ("a stale tree", lambda s: (s.against.tree / "tritonmoe" / "x.py").write_text(""), "stale: the sources"),
]


@pytest.mark.parametrize(("what", "spoil", "reason"), PACKING, ids=[row[0] for row in PACKING])
def test_what_does_not_hold_is_not_packed(scene: Scene, what: str, spoil, reason: str):
    spoil(scene)
    with pytest.raises(Refused, match=reason):
        _packed(scene, tree=scene.against.tree, keys=scene.keys)


def _put(name: str, content: bytes) -> Spoil:
    return lambda members: members.__setitem__(name, content)


def _source(change: Callable[[dict], Any]) -> Spoil:
    def spoil(members: dict[str, bytes]) -> None:
        told = json.loads(members["source.json"])
        change(told)
        members["source.json"] = readable(told)

    return spoil


def _joined(told: dict) -> None:
    """Two files written as one whose name holds the other: the digest over the text would be the same."""
    first, second, *rest = told["files"]
    name = f"{first['name']}\0{first['sha256']}\n{second['name']}"
    told["files"] = [{"name": name, "sha256": second["sha256"]}, *rest]


def _joined_by_digest(told: dict) -> None:
    """The same by the other field."""
    first, second, *rest = told["files"]
    digest = f"{first['sha256']}\n{second['name']}\0{second['sha256']}"
    told["files"] = [{"name": first["name"], "sha256": digest}, *rest]


def _no_text(members: dict[str, bytes]) -> None:
    told = json.loads(members["source.json"])
    told["files"][0]["sha256"] = "\ud800"
    members["source.json"] = json.dumps(told).encode()


def _swapped(members: dict[str, bytes]) -> None:
    members["left.xml"], members["right.xml"] = members["right.xml"], members["left.xml"]


def _file(**fields: str) -> Spoil:
    return _source(lambda told: told["files"][0].update(fields))


DOES_NOT_FOLLOW = "in the package does not follow from its reports"
MEMBERS: list[tuple[str, Spoil, str]] = [
    ("left.xml changed", _put("left.xml", b"<x/>"), "the left report is not the file that was certified"),
    ("right.xml changed", _put("right.xml", b"<x/>"), "the right report is not the file that was certified"),
    ("reports swapped", _swapped, "the two reports are swapped"),
    ("environment.json changed", _put("environment.json", b"{}"), f"environment.json {DOES_NOT_FOLLOW}"),
    ("statement.json changed", _put("statement.json", b"{}"), f"statement.json {DOES_NOT_FOLLOW}"),
    ("certificate.json changed", _put("certificate.json", b"{}"), "the certificate has no field 'payload'"),
    ("source.json changed", _put("source.json", b"{}"), f"source.json {DOES_NOT_FOLLOW}"),
    ("source.json no JSON", _put("source.json", b"{"), "source.json is no JSON"),
    ("source.json a list", _put("source.json", b"[]"), f"source.json {DOES_NOT_FOLLOW}"),
    ("a commit changed", _source(lambda told: told["commit"].update(left="0" * 40)), DOES_NOT_FOLLOW),
    ("a file changed", _file(sha256="0" * 64), "are not the sources that were certified"),
    ("a file dropped", _source(lambda told: told["files"].pop()), "are not the sources that were certified"),
    ("files joined", _source(_joined), "which is no source file"),
    ("files joined in a digest", _source(_joined_by_digest), "expected a SHA-256"),
    ("a digest that is no text", _no_text, "expected a SHA-256"),
    ("a file outside", _file(name="../x.py"), 'lists "../x.py", which is no source file'),
    ("a file with a size", _file(size="1"), "which is no source file"),
    ("files that are none", _source(lambda told: told.update(files="all")), "which is no source file"),
    ("a file more", _put("notes.txt", b"hello"), 'the package holds "notes.txt"; expected left.xml'),
    ("a path out of the folder", _put("../left.xml", b""), 'the package holds "../left.xml"'),
    ("a file less", lambda members: members.pop("source.json"), "the package has no source.json"),
]


@pytest.mark.parametrize(("what", "spoil", "reason"), MEMBERS, ids=[row[0] for row in MEMBERS])
def test_a_spoilt_package_is_refused_with_the_reason(scene: Scene, package, what: str, spoil, reason: str):
    members = _members(package)
    spoil(members)
    with pytest.raises(Refused) as refusal:
        _verify(scene, package_module._zipped(members))
    assert reason in str(refusal.value)
    assert tempfile.gettempdir() not in str(refusal.value)


UNPACKED = [row for row in MEMBERS if row[0] in ("source.json changed", "a file more", "a file less")]


@pytest.mark.parametrize(("what", "spoil", "reason"), UNPACKED, ids=[row[0] for row in UNPACKED])
def test_so_is_a_spoilt_folder(scene: Scene, package: bytes, what: str, spoil, reason: str):
    members = _members(package)
    spoil(members)
    folder = scene.folder / "unpacked"
    folder.mkdir()
    for name, content in members.items():
        (folder / name).write_bytes(content)
    with pytest.raises(Refused, match=reason):
        verify_bundle(folder, scene.keys, now=scene.now)


def _doubled(members: dict[str, bytes]) -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return _zip([*members.items(), ("left.xml", b"<other/>")])


def _bomb(members: dict[str, bytes]) -> bytes:
    return _zip({**members, "left.xml": bytes(10**7)}.items(), zipfile.ZIP_DEFLATED)


def _commented(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO(package_module._zipped(members))
    with zipfile.ZipFile(buffer, "a") as opened:
        opened.comment = b"hello"
    return buffer.getvalue()


def _huge(members: dict[str, bytes]) -> bytes:
    """The directory claims that environment.json is larger than it is."""
    data = bytearray(package_module._zipped(members))
    entry = data.rindex(b"environment.json") - 46
    struct.pack_into("<II", data, entry + 20, 2**21, 2**21)
    return bytes(data)


BESIDES = "something besides its six files"
ARCHIVES: list[tuple[str, Callable[[dict[str, bytes]], bytes], str]] = [
    ("a file twice", _doubled, "the package holds left.xml twice"),
    ("a bomb", _bomb, "left.xml in the package is compressed"),
    ("bytes before it", lambda members: b"#!/bin/sh\n" + package_module._zipped(members), BESIDES),
    ("a comment", _commented, BESIDES),
    ("another order", lambda members: _zip(reversed(members.items())), BESIDES),
    ("other times and modes", lambda members: _zip(members.items()), BESIDES),
    ("a size that is too large", _huge, "environment.json in the package is larger than"),
]


@pytest.mark.parametrize(("what", "make", "reason"), ARCHIVES, ids=[row[0] for row in ARCHIVES])
def test_an_archive_of_another_make_is_refused(scene: Scene, package: bytes, what: str, make, reason: str):
    with pytest.raises(Refused, match=reason):
        _verify(scene, make(_members(package)))


DAMAGED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("cut short", lambda package: package[:-100]),
    ("no zip", lambda package: b"PK and then nothing"),
    ("a byte flipped", lambda package: package.replace(b"testsuites", b"testsuitez", 1)),
]


@pytest.mark.parametrize(("what", "damage"), DAMAGED, ids=[row[0] for row in DAMAGED])
def test_a_damaged_archive_cannot_be_read(scene: Scene, package: bytes, what: str, damage):
    with pytest.raises(ReportError, match=r"parity.zip: is no sound zip file"):
        _verify(scene, damage(package))


def test_a_folder_that_cannot_be_listed_is_unreadable(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.listdir", refuse)
    with pytest.raises(ReportError, match=r"cannot be read \(Permission denied\)"):
        verify_bundle(scene.folder, scene.keys)


def test_a_package_signed_by_another_is_refused(scene: Scene, package: bytes):
    scene.keys = [load_public(scene.folder / "foreign.pub")]
    with pytest.raises(Refused, match="a foreign key"):
        _verify(scene, package)


def test_a_package_is_compared_with_files_like_any_certificate(scene: Scene, package: bytes):
    against = replace(scene.against, waivers=scene.folder / "waivers.toml")
    with pytest.raises(Refused, match="says nothing of the waivers file"):
        _verify(scene, package, against=against)
