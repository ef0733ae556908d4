"""The rule of source.digest, and what has no sources."""

import hashlib
import io
import time
import zipfile
from pathlib import Path

import pytest

from reports import ReportError
from reports.certificate import sources
from reports.certificate.jsontext import strict
from reports.certificate.refused import Refused

from .scene import SOURCES, digest_of_sources, wheel_of, write_tree

RULE = [
    ("tritonmoe/layer.py", True),
    ("tritonmoe/tables/sm90.json", True),
    ("conformance/test_matrix.py", True),
    ("conformance/reference/router.py", True),
    ("conformance/coverage.json", True),
    ("tritonmoe/README.md", False),
    ("tritonmoe/speed/bench.py", False),
    ("conformance/test_nan.py", False),
    ("conformance/reference/test_more.py", False),
    ("conformance/platforms/cuda.py", False),
    ("conformance/gfx942/decode.py", False),
    ("conformance/power/table.py", False),
    ("conformance/commands.py", False),
    ("conformance/corpus.json", False),
    ("conformance/found.json", False),
    ("reports/cli.py", False),
    ("tritonmoe/", False),
    ("tritonmoe.py", False),
    ("setup.py", False),
    ("../tritonmoe/layer.py", False),
]


@pytest.mark.parametrize(("path", "covered"), RULE)
def test_the_digest_covers_what_decides_an_outcome(path: str, covered: bool):
    assert sources.covered(path) is covered


def test_the_order_is_that_of_the_parts_of_a_path_the_layer_first():
    paths = ["conformance/a.py", "tritonmoe/b_c.py", "tritonmoe/b/c.py", "tritonmoe/b.py"]
    assert sources.in_order(paths) == [
        "tritonmoe/b/c.py",
        "tritonmoe/b.py",
        "tritonmoe/b_c.py",
        "conformance/a.py",
    ]


def test_a_tree_and_its_wheel_have_the_same_digest(tmp_path: Path):
    listing = sources.of_tree(write_tree(tmp_path))
    assert sources.digest_of(listing) == digest_of_sources()
    assert listing == sources.of_wheel(wheel_of(SOURCES), "wheel")
    assert dict(listing)["tritonmoe/layer.py"] == hashlib.sha256(SOURCES["tritonmoe/layer.py"]).hexdigest()


def test_differences_are_named_a_few_of_them():
    ours = [(f"tritonmoe/{n}.py", "0") for n in range(5)]
    assert sources.difference(ours, ours) == ""
    assert sources.difference(ours, ours[:4]) == "tritonmoe/4.py"
    assert sources.difference(ours, []) == "tritonmoe/0.py, tritonmoe/1.py, tritonmoe/2.py and 2 more"


def test_the_checkout_is_found_from_inside_it_and_not_from_outside(tmp_path: Path, monkeypatch):
    tree = write_tree(tmp_path / "tree")
    monkeypatch.chdir(tree / "tritonmoe")
    assert sources.current_checkout() == tree
    monkeypatch.chdir(tmp_path)
    assert sources.current_checkout() is None


def test_what_is_no_checkout_is_unreadable(tmp_path: Path):
    with pytest.raises(ReportError, match="is no checkout; expected the folders tritonmoe and conformance"):
        sources.of_tree(tmp_path)
    tree = write_tree(tmp_path / "tree")
    (tree / "tritonmoe" / "gone.py").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ReportError, match=r"gone.py: cannot be read \(No such file"):
        sources.of_tree(tree)


def test_a_folder_that_cannot_be_listed_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tree = write_tree(tmp_path / "tree")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rglob", refuse)
    with pytest.raises(ReportError, match=r"tree: cannot be read \(Permission denied\)"):
        sources.of_tree(tree)


def _twice() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return _with("tritonmoe/layer.py", b"")


def _with(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO(wheel_of(SOURCES))
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr(name, content)
    return buffer.getvalue()


WHEELS = [
    ("no zip", lambda: b"PK", "w.whl: is no wheel"),
    ("a file twice", _twice, "w.whl: holds a source file twice"),
    ("a bomb", lambda: _with("tritonmoe/zeros.py", bytes(2**26)), "w.whl: unpacks to more than 67,108,864"),
]


@pytest.mark.parametrize(("what", "make", "reason"), WHEELS, ids=[row[0] for row in WHEELS])
def test_what_is_no_wheel_is_unreadable(what: str, make, reason: str):
    with pytest.raises(ReportError, match=reason):
        sources.of_wheel(make(), "w.whl")


IN_PLACE = (
    "tritonmoe-0.1.0.data/purelib/tritonmoe/layer.py",
    "tritonmoe/layer.abi3.so",
    "tritonmoe/__pycache__/layer.cpython-311.pyc",
    "tritonmoe//layer.py",
    "tritonmoe/../tritonmoe/layer.py",
    "tritonmoe\\layer.py",
    "x.pth",
    "sitecustomize.py",
)


@pytest.mark.parametrize("name", IN_PLACE)
def test_a_wheel_holds_nothing_that_runs_in_place_of_its_sources(name: str):
    with pytest.raises(Refused, match=r"w.whl: holds .*, for which the sources' digest cannot vouch"):
        sources.of_wheel(wheel_of({**SOURCES, name: b"other"}), "w.whl")


def test_a_wheel_is_read_no_further_than_it_says():
    """A file that claims fewer bytes than it unpacks to is no sound file."""
    data = wheel_of({**SOURCES, "tritonmoe/large.py": b"#" * 100_000})
    assert data.count((100_000).to_bytes(4, "little")) == 2
    with pytest.raises(ReportError, match="is no wheel"):
        sources.of_wheel(data.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little")), "w.whl")


def test_a_key_that_is_there_twice_is_found_at_once():
    """What nobody has signed yet may be long: the search for the key must not be quadratic in it."""
    keys = ", ".join(f'"{number}": 0' for number in [*range(200_000), 199_999])
    started = time.process_time()
    with pytest.raises(Refused, match="has the key '199999' twice"):
        strict(f"{{{keys}}}".encode(), "it")
    assert time.process_time() - started < 5
