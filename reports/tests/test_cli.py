"""The command, as a user runs it."""

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from reports import cli

from .build import Draft

ROOT = Path(__file__).parents[2]
LAYER = "layer/mixtral/float32/zipf"
BLOCKED = ("torch", "numpy", "triton", "tritonmoe", "conformance")


def run(*arguments: object, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m reports` in a process of its own, or `code` with these arguments."""
    command = [sys.executable, *(["-c", code] if code else ["-m", "reports"]), *map(str, arguments)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "NO_COLOR": "", **environment}
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", env=variables, timeout=60
    )


def assert_one_line_error(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("tritonmoe: ")
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr


def test_parity_gives_the_verdict_and_the_page(pair, tmp_path: Path):
    done = run("parity", *pair, "--page", tmp_path / "page.html")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("PARITY: cuda (hardware) and gfx942 (emulated) agree on 162 of 162 cases\n")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_divergence_is_exit_code_1(pair, tmp_path: Path):
    right = Draft("gfx942").fail(LAYER).write(tmp_path / "right.xml")
    done = run("parity", pair[0], right)
    assert (done.returncode, done.stdout.split(":")[0]) == (1, "DIVERGENT")


def test_incompleteness_is_exit_code_2(pair, tmp_path: Path):
    right = Draft("gfx942").without(LAYER).write(tmp_path / "right.xml")
    done = run("parity", pair[0], right)
    assert (done.returncode, done.stdout.split(":")[0]) == (2, "INCOMPLETE")


@pytest.mark.parametrize(
    ("form", "start"), [("json", "{"), ("markdown", "# PARITY"), ("html", "<!doctype html>")]
)
def test_every_format_goes_to_output_or_file(form: str, start: str, pair, tmp_path: Path):
    printed = run("parity", *pair, "--format", form)
    assert printed.stdout.startswith(start)
    done = run("parity", *pair, "--format", form, "-o", tmp_path / "out")
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "out").read_text(encoding="utf-8") == printed.stdout


def test_waivers_are_read(pair, tmp_path: Path):
    waivers = tmp_path / "waivers.toml"
    waivers.write_text(
        f'[[waiver]]\ncases = ["{LAYER}"]\narchitectures = ["gfx942"]\nreason = "known"\nowner = "Ada"\n'
        'issue = "https://example.org/7"\nexpires = 2999-01-01\n'
    )
    right = Draft("gfx942").fail(LAYER).write(tmp_path / "right.xml")
    done = run("parity", pair[0], right, "--waivers", waivers, "--format", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["waivers"][0]["owner"] == "Ada"
    waivers.write_text("[[waiver]]\n")
    assert_one_line_error(run("parity", pair[0], right, "--waivers", waivers), "waiver 1: ", "missing: cases")


def test_bad_input_is_one_line(pair, tmp_path: Path):
    png = tmp_path / "picture.xml"
    png.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert_one_line_error(run("parity", pair[0], png), "picture.xml", "not well-formed XML")
    assert_one_line_error(run("parity", tmp_path / "none.xml", pair[0]), "none.xml", "No such file")
    assert_one_line_error(run("page", tmp_path), "is a directory")


def test_output_that_cannot_be_written_is_one_line(pair, tmp_path: Path):
    assert_one_line_error(run("parity", *pair, "-o", tmp_path / "no" / "file"), "cannot be written")
    assert_one_line_error(run("page", pair[0], "-o", tmp_path), "cannot be written")


def test_a_report_is_never_written_over(pair):
    before = pair[0].read_bytes()
    assert_one_line_error(run("parity", *pair, "-o", pair[0]), "is one of the files just read")
    assert_one_line_error(run("page", pair[0], "-o", pair[0]), "is one of the files just read")
    assert pair[0].read_bytes() == before


def test_page_writes_one_report(pair, tmp_path: Path):
    done = run("page", pair[1], "-o", tmp_path / "one.html")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "PASSED: gfx942 (emulated) passes 162 of 162 cases\n"
    assert "PASSED" in (tmp_path / "one.html").read_text(encoding="utf-8")


def test_a_terminal_without_unicode_gets_no_traceback(pair):
    done = run("parity", *pair, PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_goes_away_gets_no_traceback(pair):
    script = f"{sys.executable} -m reports parity {pair[0]} {pair[1]} --format json | head -c 10"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, shell=True, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [("--help",), ("parity", "--help"), ("page", "--help")])
def test_help_has_examples(arguments: tuple[str, ...]):
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "examples:\n  tritonmoe parity" in done.stdout or "examples:\n  tritonmoe page" in done.stdout


def test_no_command_prints_help_and_is_an_error():
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "examples:" in done.stderr


def test_reports_works_where_nothing_else_can_be_imported(pair, tmp_path: Path):
    code = f"""
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
from reports.cli import main
code = main(sys.argv[1:])
assert not set({BLOCKED!r}) & set(sys.modules)
sys.exit(code)
"""
    done = run("parity", *pair, "--page", tmp_path / "page.html", code=code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("PARITY")
    assert (tmp_path / "page.html").exists()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Pretends that packages with these sources of `commands` are installed, besides reports."""

    def install(**sources: str) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        unique = tmp_path.name
        found = [EntryPoint("reports", "reports.commands:register", cli.GROUP)]
        for name, source in sources.items():
            (tmp_path / f"{name}_{unique}.py").write_text(source)
            found.append(EntryPoint(name, f"{name}_{unique}:register", cli.GROUP))
        monkeypatch.setattr(cli, "_entry_points", lambda: tuple(found))

    return install


def test_another_package_adds_a_command(installed, capsys: pytest.CaptureFixture[str]):
    installed(
        suite="""
def register(subparsers):
    parser = subparsers.add_parser("greet", help="says hello")
    parser.add_argument("name")
    parser.set_defaults(run=lambda args: print("hello", args.name) or 7)
"""
    )
    assert cli.main(["greet", "Ada"]) == 7
    assert capsys.readouterr().out == "hello Ada\n"


BROKEN = [
    "import no_such_module_anywhere",
    "raise ImportError('torch has no triton: install triton')",
    "x = 1",
]


@pytest.mark.parametrize("source", BROKEN)
def test_a_package_that_cannot_be_imported_says_what_to_install(source: str, installed, pair, capsys):
    installed(suite=source)
    assert cli.main(["suite", "--anything", "at all"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install 'tritonmoe[suite]'" in error
    assert cli.main(["parity", *map(str, pair)]) == 0
    assert capsys.readouterr().out.startswith("PARITY")
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    assert "not available here" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        cli.main(["certify"])
    assert caught.value.code == 2
    assert "not available here: suite" in capsys.readouterr().err


def test_a_module_missing_only_when_a_command_runs_is_told_too(installed, capsys: pytest.CaptureFixture[str]):
    installed(
        suite="""
def register(subparsers):
    def run(args):
        import no_such_module_anywhere
    subparsers.add_parser("later").set_defaults(run=run)
"""
    )
    assert cli.main(["later"]) == 2
    assert "needs the module 'no_such_module_anywhere'" in capsys.readouterr().err
