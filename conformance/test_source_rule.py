"""The rule of source.digest is written twice, here for reports and in reports for verifiers: they agree."""

from pathlib import Path

import pytest

import tritonmoe
from conformance import environment
from reports.certificate import sources

ROOT = Path(__file__).parents[1]
ANY = [
    "tritonmoe/__init__.py",
    "tritonmoe/launches.json",
    "tritonmoe/b.py",
    "tritonmoe/b_c.py",
    "tritonmoe/b/c.py",
    "tritonmoe/.py",
    "tritonmoe/speed/bench.py",
    "tritonmoe/tables/speed.py",
    "tritonmoe/README.md",
    "tritonmoe/test_layer.py",
    "tritonmoe/commands.py",
    "tritonmoe/power/x.py",
    "tritonmoe/a.PY",
    "tritonmoe/a..py",
    "conformance/__init__.py",
    "conformance/test_matrix.py",
    "conformance/test_nan.py",
    "conformance/reference/router.py",
    "conformance/reference/test_more.py",
    "conformance/reference/test_matrix.py",
    "conformance/reference/commands.py",
    "conformance/platforms/cuda.py",
    "conformance/gfx942/decode.py",
    "conformance/power/table.py",
    "conformance/speed/x.py",
    "conformance/commands.py",
    "conformance/corpus.json",
    "conformance/found.json",
    "conformance/coverage.json",
    "conformance/deep/corpus.json",
    "conformance/Z.py",
    "conformance/a-b.py",
    "reports/cli.py",
    "setup.py",
]


def test_a_verifier_finds_the_digest_that_a_report_of_this_tree_carries() -> None:
    assert sources.digest_of(sources.of_tree(ROOT)) == environment.source_digest()


def test_both_rules_cover_the_same_files_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tritonmoe, "__file__", str(tmp_path / "tritonmoe" / "__init__.py"))
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "conformance" / "environment.py"))
    for name in ("tritonmoe/__init__.py", "conformance/__init__.py", *ANY):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        if sources.is_checkout(tmp_path):
            assert sources.digest_of(sources.of_tree(tmp_path)) == environment.source_digest(), name
