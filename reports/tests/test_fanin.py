"""`tritonmoe fan-in`: every platform expected is there once, or the run fails and says which is not."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reports import cli, fanin

from .build import Draft
from .suite_files import coverage_run

CASE = "layer/mixtral/bfloat16/zipf"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Writes drafts into a folder of artifacts, one folder a platform; runs the command over it."""

    def made(drafts: list[Draft], *options: str, expect: str = "cuda,rocm") -> tuple[int, str, str]:
        for number, draft in enumerate(drafts):
            folder = tmp_path / "in" / f"report-{number}"
            folder.mkdir(parents=True, exist_ok=True)
            draft.write(folder / "any-name.xml")
        (tmp_path / "in").mkdir(exist_ok=True)
        code = cli.main(
            ["fan-in", str(tmp_path / "in"), "--expect", expect, "-o", str(tmp_path / "out"), *options]
        )
        said = capsys.readouterr()
        return code, said.out, said.err

    return made


def foreign() -> Draft:
    draft = Draft("gfx942")
    draft.name = "somebody.else"
    return draft


RUNS = [
    ("two that agree", [Draft("cuda"), Draft("rocm")], "cuda,rocm", 0, "1 of 1 pair in PARITY"),
    (
        "three that agree",
        [Draft("cuda"), Draft("rocm"), Draft("gfx942")],
        "cuda,rocm,gfx942",
        0,
        "3 of 3 pairs in PARITY",
    ),
    ("one missing", [Draft("cuda")], "cuda,rocm", 2, "missing: no report of platform rocm below"),
    ("all missing", [], "cuda,rocm", 2, "missing: no report of platform cuda below"),
    (
        "one unknown",
        [Draft("cuda"), Draft("rocm"), Draft("gfx942")],
        "cuda,rocm",
        2,
        "unknown: platform gfx942 was not expected",
    ),
    (
        "one twice",
        [Draft("cuda"), Draft("rocm"), Draft("rocm")],
        "cuda,rocm",
        2,
        "duplicate: platform rocm is there 2 times",
    ),
    ("no report", [Draft("cuda"), Draft("rocm"), foreign()], "cuda,rocm", 2, "is no report of this suite"),
    (
        "one that fails",
        [Draft("cuda"), Draft("rocm").fail(CASE)],
        "cuda,rocm",
        1,
        f"{CASE}: passes on cuda, fails on rocm",
    ),
    (
        "one that lacks a case",
        [Draft("cuda"), Draft("rocm").without(CASE)],
        "cuda,rocm",
        2,
        f"{CASE}: missing from rocm",
    ),
    (
        "one that is stale",
        [Draft("cuda"), Draft("rocm").claim(source__digest="0" * 64)],
        "cuda,rocm",
        2,
        "not the same sources",
    ),
    (
        "a divergence outweighs a gap",
        [Draft("cuda"), Draft("rocm").fail(CASE), Draft("gfx942").without("router/mixtral/float32/zipf")],
        "cuda,rocm,gfx942",
        1,
        "0 of 3 pairs in PARITY",
    ),
    (
        "a missing platform outweighs all",
        [Draft("cuda"), Draft("rocm").fail(CASE)],
        "cuda,rocm,gfx942",
        2,
        "1 fault of the run",
    ),
]


@pytest.mark.parametrize(
    ("drafts", "expect", "code", "says"), [row[1:] for row in RUNS], ids=[r[0] for r in RUNS]
)
def test_a_run_is_as_good_as_its_worst_part(run: Run, drafts, expect: str, code: int, says: str):
    found, out, _ = run(drafts, expect=expect)
    assert found == code
    assert says in out


REFUSED = [
    ("cuda", "--expect names 1 platform; expected two or more, as in cuda,rocm"),
    ("", "--expect names 0 platforms; expected two or more"),
    ("cuda,hip", "--expect names 'hip'; expected platforms among cuda, rocm"),
    ("cuda,cuda", "--expect names cuda twice; expected each platform once"),
]


@pytest.mark.parametrize(("expect", "says"), REFUSED)
def test_what_is_expected_has_to_make_sense(run: Run, expect: str, says: str):
    code, _, err = run([Draft("cuda")], expect=expect)
    assert code == 2
    assert says in err


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert (
        cli.main(["fan-in", str(tmp_path / "none"), "--expect", "cuda,rocm", "-o", str(tmp_path / "out")])
        == 2
    )
    assert "is no folder; expected one with the platforms' XML files" in capsys.readouterr().err


def test_too_many_files_are_refused(run: Run, tmp_path: Path):
    (tmp_path / "in").mkdir()
    for number in range(fanin.MAX_FILES + 1):
        (tmp_path / "in" / f"{number}.xml").touch()
    code, _, err = run([])
    assert code == 2
    assert "holds 65 XML files; expected 64 at most" in err


def test_a_link_is_not_followed(run: Run, tmp_path: Path):
    elsewhere = Draft("rocm").write(tmp_path / "elsewhere.xml")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "rocm.xml").symlink_to(elsewhere)
    assert "missing: no report of platform rocm" in run([Draft("cuda")])[1]


def test_everything_is_written_once_a_pair(run: Run, tmp_path: Path):
    run([Draft("cuda"), Draft("rocm"), Draft("gfx942")], expect="cuda,rocm,gfx942")
    pairs = [
        f"{pair}.{suffix}"
        for pair in ("cuda-gfx942", "cuda-rocm", "rocm-gfx942")
        for suffix in ("html", "json", "md")
    ]
    shared = [
        "fan-in.json",
        "reports/cuda.xml",
        "reports/gfx942.xml",
        "reports/rocm.xml",
        "summary.md",
        "test-result.json",
    ]
    out = tmp_path / "out"
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*")) == sorted(pairs + shared)
    assert json.loads((out / "cuda-rocm.json").read_text())["verdict"] == "PARITY"
    assert (out / "reports" / "rocm.xml").read_bytes() == (
        tmp_path / "in" / "report-1" / "any-name.xml"
    ).read_bytes()


def test_the_json_and_the_predicate_say_what_was_found(run: Run, tmp_path: Path):
    code, out, _ = run([Draft("cuda"), Draft("rocm").fail(CASE)], "--format", "json")
    told = json.loads(out)
    assert told == json.loads((tmp_path / "out" / "fan-in.json").read_text())
    assert (told["format"], told["version"], told["exit_code"], code) == ("tritonmoe.fan-in", 1, 1, 1)
    assert [(pair["name"], pair["verdict"]) for pair in told["pairs"]] == [("cuda-rocm", "DIVERGENT")]
    predicate = json.loads((tmp_path / "out" / "test-result.json").read_text())
    assert (predicate["result"], predicate["failedTests"]) == ("FAILED", ["parity/cuda-rocm"])
    assert [each["digest"]["sha256"] for each in predicate["configuration"]] == [
        report["sha256"] for report in told["reports"]
    ]


def test_the_predicate_of_a_run_in_parity_passes(run: Run, tmp_path: Path):
    run([Draft("cuda"), Draft("rocm")])
    predicate = json.loads((tmp_path / "out" / "test-result.json").read_text())
    assert (predicate["result"], predicate["passedTests"]) == ("PASSED", ["parity/cuda-rocm"])


def test_a_summary_names_every_platform_and_shows_no_markup_of_a_report(run: Run):
    hostile = Draft("rocm").claim(device__name="<img src=x> | [a](http://b) @team")
    _, out, _ = run([Draft("cuda"), hostile], "--format", "markdown")
    assert out.startswith("# 1 of 1 pair in PARITY\n")
    assert "| cuda | hardware | now | NVIDIA H100 80GB HBM3 |" in out
    assert not any(each in out for each in ("<img", "[a](", "@team", "http://b"))


def test_a_record_stands_in_and_is_called_one(run: Run, tmp_path: Path):
    record = Draft("cuda").write(tmp_path / "record.xml")
    code, out, _ = run([Draft("rocm")], "--record", str(record), "--format", "markdown", expect="rocm,cuda")
    assert code == 0
    assert "| cuda | hardware | a record |" in out
    assert "NVIDIA \\(recorded\\) against AMD \\(hardware, live\\):" in out
    assert (tmp_path / "out" / "records" / "cuda.xml").read_bytes() == record.read_bytes()
    assert not (tmp_path / "out" / "reports" / "cuda.xml").exists()


def test_a_record_beside_a_live_report_is_a_duplicate(run: Run, tmp_path: Path):
    record = Draft("cuda").write(tmp_path / "record.xml")
    code, out, _ = run([Draft("cuda"), Draft("rocm")], "--record", str(record))
    assert code == 2
    assert "duplicate: platform cuda is there 2 times" in out
    assert "record.xml, a record" in out


def test_a_waived_failure_warns(run: Run, tmp_path: Path):
    waivers = tmp_path / "waivers.toml"
    waivers.write_text(
        f'[[waiver]]\ncases = ["{CASE}"]\narchitectures = ["gfx942"]\nreason = "r"\n'
        'issue = "https://example.org/7"\nowner = "Ada"\nexpires = 2100-01-01\n'
    )
    code, _, _ = run([Draft("cuda"), Draft("rocm").fail(CASE)], "--waivers", str(waivers))
    assert code == 0
    assert json.loads((tmp_path / "out" / "test-result.json").read_text())["result"] == "WARNED"


@pytest.fixture
def key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert cli.main(["keygen", "-o", str(tmp_path / "team")]) == 0
    capsys.readouterr()
    return tmp_path / "team.key"


def verify(tmp_path: Path) -> int:
    package, public = tmp_path / "out" / "cuda-rocm.zip", tmp_path / "team.pub"
    return cli.main(["verify", str(package), "--key", str(public), "--no-tree"])


def test_a_run_in_parity_is_signed_and_its_package_verifies(run: Run, tmp_path: Path, key: Path):
    code, _, err = run(
        [Draft("cuda"), Draft("rocm")], "--key", str(key), "--url", "https://example.org/run/1"
    )
    assert code == 0, err
    assert verify(tmp_path) == 0
    assert (tmp_path / "out" / "cuda-rocm.cert.json").exists()


def test_the_key_may_come_from_the_environment(run: Run, tmp_path: Path, key: Path, monkeypatch):
    monkeypatch.setenv("SIGNING", key.read_text())
    assert run([Draft("cuda"), Draft("rocm")], "--key-env", "SIGNING")[0] == 0
    assert verify(tmp_path) == 0


def test_a_run_that_is_not_in_parity_is_not_signed_and_keeps_no_older_certificate(
    run: Run, tmp_path: Path, key: Path
):
    run([Draft("cuda"), Draft("rocm")], "--key", str(key))
    code, _, err = run([Draft("cuda"), Draft("rocm").fail(CASE)], "--key", str(key))
    assert code == 1
    assert "nothing is signed, for only PARITY can be" in err
    assert not list((tmp_path / "out").glob("*.cert.json")) + list((tmp_path / "out").glob("*.zip"))


def test_a_key_that_is_none_fails_the_run(run: Run, tmp_path: Path):
    (tmp_path / "bad.key").write_text("no key")
    code, _, err = run([Draft("cuda"), Draft("rocm")], "--key", str(tmp_path / "bad.key"))
    assert code == 2
    assert "no certificate of cuda-rocm: tritonmoe attest failed" in err


IN_THE_WAY = [
    (["-o", "in"], "in: lies in the folder that is read"),
    (["-o", "in/deeper"], "in/deeper: lies in the folder that is read"),
    (["-o", "."], "in: lies in ., which is written anew"),
    (
        ["--record", "out/records/cuda.xml", "-o", "out"],
        "out/records/cuda.xml: lies in out, which is written anew",
    ),
]


@pytest.mark.parametrize(("options", "says"), IN_THE_WAY)
def test_nothing_that_is_read_is_written_over(
    run: Run, tmp_path: Path, monkeypatch, options: list[str], says: str
):
    monkeypatch.chdir(tmp_path)
    code, _, err = run([Draft("rocm")], *options)
    assert code == 2
    assert says in err


def test_a_folder_that_cannot_be_written_is_said_so(run: Run, tmp_path: Path):
    (tmp_path / "out").write_text("a file")
    code, _, err = run([Draft("cuda"), Draft("rocm")])
    assert code == 2
    assert "out: cannot be written (File exists)" in err


def test_coverage_beside_a_report_is_kept_with_it_and_on_its_page(run: Run, tmp_path: Path):
    beside = tmp_path / "in" / "report-1" / "gfx942-coverage.json"
    beside.parent.mkdir(parents=True)
    beside.write_text(json.dumps(coverage_run()))
    assert run([Draft("cuda"), Draft("gfx942")], expect="cuda,gfx942")[0] == 0
    assert (tmp_path / "out" / "reports" / beside.name).read_bytes() == beside.read_bytes()
    page = (tmp_path / "out" / "cuda-gfx942.html").read_text()
    beside.unlink()
    run([Draft("cuda"), Draft("gfx942")], expect="cuda,gfx942")
    assert (tmp_path / "out" / "cuda-gfx942.html").read_text() != page


def test_coverage_that_is_none_is_refused(run: Run, tmp_path: Path):
    beside = tmp_path / "in" / "report-0" / "cuda-coverage.json"
    beside.parent.mkdir(parents=True)
    beside.write_text("{}")
    code, _, err = run([Draft("cuda"), Draft("rocm")])
    assert code == 2
    assert "cuda-coverage.json" in err


def test_it_needs_neither_torch_nor_the_suite():
    source = (
        "import reports.fanin_command, sys; assert not {'torch', 'triton', 'conformance'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", source], check=True)
