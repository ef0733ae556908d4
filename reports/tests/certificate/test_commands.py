"""keygen, attest, verify and bundle as a user runs them: what they say, where, and their exit codes."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from reports import cli

from .scene import LAYER, Scene

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command in an empty folder; returns exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)

    def ran(*arguments: object) -> tuple[int, str, str]:
        code = cli.main([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return ran


@pytest.fixture
def attest(run: Run, scene: Scene) -> Run:
    """`tritonmoe attest` on the scene's reports with the scene's key."""
    return lambda *more: run("attest", scene.left, scene.right, "--key", scene.folder / "team.key", *more)


@pytest.fixture
def pair(scene: Scene) -> tuple[object, ...]:
    """The options of `tritonmoe verify` that say with which key and reports."""
    return ("--key", scene.folder / "team.pub", "--left", scene.left, "--right", scene.right)


def test_keygen_says_what_to_do_with_the_keys(run: Run, tmp_path: Path):
    code, out, err = run("keygen", "-o", "team")
    assert (code, err) == (0, "")
    assert out.startswith("team.key  keep it secret")
    assert "team.pub  give it to those who verify\nkey id " in out
    code, out, _ = run("keygen", "-o", "other", "--json")
    assert (code, sorted(json.loads(out))) == (0, ["key_id", "private", "public"])
    code, out, err = run("keygen", "-o", "team")
    assert (code, out) == (2, "")
    assert err == "tritonmoe: team.key: is there already; choose another name\n"


def test_attest_says_what_is_certified_on_what_evidence_and_by_whom(attest: Run, scene: Scene):
    code, out, err = attest("--wheel", scene.against.wheel, "--power", scene.against.power)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "CERTIFIED PARITY: cuda (hardware) and gfx942 (emulated) agree on 162 of 162 cases"
    assert 5 <= len(lines) <= 8
    assert lines[2].startswith("  right     gfx942, emulated: gfx942 emulator (gfx942), report ")
    assert lines[3].endswith("the other is emulated and did not run on its chip.")
    assert "commit 0123456789ab, wheel tritonmoe-0.1.0-py3-none-any.whl" in lines[5]
    assert "the suite saw 3 of 4 faults put into the layer; 1 change nothing" in lines[6]
    assert f"with key {scene.keys[0].keyid[:12]}…, made 20" in lines[7]


def test_verify_says_what_was_compared(attest: Run, run: Run, scene: Scene, pair):
    power = ("--power", scene.against.power)
    assert attest(*power)[0] == 0
    code, out, err = run("verify", "certificate.json", *pair)
    assert (code, err) == (0, "")
    assert out.startswith("VERIFIED PARITY: ")
    assert "compared with no checkout\n" in out
    assert "(the signer's word: the file was not given)" in out
    code, out, _ = run("verify", "certificate.json", *pair, *power, "--tree", scene.against.tree)
    assert code == 0
    assert f"the same as the sources in {scene.against.tree}, the power file\n" in out
    assert "the signer's word" not in out


def test_the_sources_of_the_checkout_one_is_in_are_compared(
    attest: Run, run: Run, scene: Scene, pair, monkeypatch
):
    assert attest()[0] == 0
    certificate = Path("certificate.json").resolve()
    monkeypatch.chdir(scene.against.tree)
    assert f"the same as the sources in {scene.against.tree}\n" in run("verify", certificate, *pair)[1]
    (scene.against.tree / "tritonmoe" / "layer.py").write_text("new")
    code, out, err = run("verify", certificate, *pair)
    assert (code, out) == (1, "")
    assert err.startswith(f"REFUSED: stale: the sources in {scene.against.tree} have the digest ")
    assert err.count("\n") == 1
    assert run("verify", certificate, *pair, "--no-tree")[0] == 0


def test_a_package_is_made_and_taken_whole(attest: Run, run: Run, scene: Scene):
    assert attest()[0] == 0
    key = ("--key", scene.folder / "team.pub")
    reports = (scene.left, scene.right, "--cert", "certificate.json")
    code, out, err = run("bundle", *reports, *key, "--tree", scene.against.tree, "-o", "parity.zip")
    assert (code, err) == (0, "")
    assert out.startswith("parity.zip: ")
    assert run("verify", "parity.zip", *key)[0] == 0
    assert run("verify", "certificate.json", *key, "--bundle", "parity.zip")[0] == 0
    assert run("bundle", *reports, "-o", "second.zip")[0] == 0
    Path("certificate.json").write_bytes(scene.envelope)
    code, _, err = run("verify", "certificate.json", *key, "--bundle", "parity.zip")
    assert (code, err) == (1, "REFUSED: the package holds another certificate than this one\n")
    code, _, err = run("verify", "parity.zip", *key, "--left", scene.left)
    assert (code, err) == (2, "tritonmoe: parity.zip: is a package; leave out --left\n")


def test_programs_get_json_whatever_the_outcome(attest: Run, run: Run, scene: Scene, pair):
    code, out, _ = attest("--json", "--url", "https://example.org/runs/1")
    made = json.loads(out)
    assert (code, made["outcome"], made["result"], made["verdict"]) == (0, "certified", "PASSED", "PARITY")
    assert made["statement"]["predicate"]["url"] == "https://example.org/runs/1"
    code, out, _ = run("verify", "certificate.json", *pair, "--json")
    assert (code, json.loads(out)["sides"][1]["evidence"]) == (0, "emulated")
    code, out, err = run(
        "verify", "certificate.json", *pair[:2], "--left", pair[5], "--right", pair[3], "--json"
    )
    assert (code, err) == (1, "")
    told = json.loads(out)
    assert (told["outcome"], told["reason"].split(":")[0]) == ("refused", "the two reports are swapped")
    code, out, _ = run("verify", "nowhere.json", *pair, "--json")
    assert (code, json.loads(out)["outcome"]) == (2, "unreadable")


def test_a_summary_in_markdown_shows_text_as_text(attest: Run):
    code, out, _ = attest("--markdown")
    assert code == 0
    assert out.startswith("## CERTIFIED PARITY: cuda \\(hardware\\) and gfx942 \\(emulated\\) agree")
    assert "| right | gfx942, emulated: " in out


def test_a_waived_case_is_named_with_its_end(copy_of, run: Run):
    scene = copy_of(True)
    waivers = scene.folder / "waivers.toml"
    waivers.write_text(waivers.read_text().replace("2026-04-30", "2999-04-30"))
    key = ("--key", scene.folder / "team.key", "--waivers", waivers)
    code, out, _ = run("attest", scene.left, scene.right, *key, "--json")
    assert (code, json.loads(out)["waived"]) == (0, [LAYER])
    code, out, _ = run("attest", scene.left, scene.right, *key)
    assert "  waived    1 case, until 2999-04-30\n" in out


def test_two_reports_of_one_platform_are_called_that(run: Run, scene: Scene):
    again = scene.folder / "again.xml"
    again.write_bytes(scene.left.read_bytes() + b"\n")
    _, out, _ = run("attest", scene.left, again, "--key", scene.folder / "team.key")
    assert "Both are of one platform: this is repeatability, not portability." in out


def test_a_smoke_profile_is_called_a_few_examples(run: Run, scene: Scene):
    for path in (scene.left, scene.right):
        path.write_text(path.read_text().replace('value="certify"', 'value="smoke"'))
    _, out, _ = run("attest", scene.left, scene.right, "--key", scene.folder / "team.key")
    assert "profile smoke, a few a case." in out


def test_a_certificate_can_be_made_again_to_the_byte(attest: Run, monkeypatch: pytest.MonkeyPatch):
    assert attest("--made", "2026-03-01T12:00:00Z", "-o", "first.json")[0] == 0
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1772366400")
    assert attest("-o", "second.json", "--predicate", "predicate.json")[0] == 0
    assert Path("first.json").read_bytes() == Path("second.json").read_bytes()
    assert json.loads(Path("predicate.json").read_bytes())["result"] == "PASSED"


def test_the_key_may_come_from_the_environment(run: Run, scene: Scene, pair, monkeypatch):
    monkeypatch.setenv("SIGNING_KEY", (scene.folder / "team.key").read_text())
    assert run("attest", scene.left, scene.right, "--key-env", "SIGNING_KEY")[0] == 0
    assert run("verify", "certificate.json", *pair)[0] == 0
    monkeypatch.setenv("SIGNING_KEY", " ")
    code, _, err = run("attest", scene.left, scene.right, "--key-env", "SIGNING_KEY")
    assert (code, err.split(";")[0]) == (2, "tritonmoe: the environment variable SIGNING_KEY is empty")


def test_a_refusal_writes_nothing(attest: Run, scene: Scene):
    scene.right.write_bytes(scene.left.read_bytes())
    code, out, err = attest("-o", "made.json")
    assert (code, out) == (1, "")
    assert err == "REFUSED: both reports are the same file, byte for byte: nothing was compared\n"
    assert not Path("made.json").exists()


UNREADABLE = [
    (("--made", "yesterday"), "--made is 'yesterday'; expected a time as 2030-01-31T12:00:00Z"),
    (("-o", "nowhere/made.json"), "nowhere/made.json: cannot be written (No such file or directory)"),
    (("-o", "."), ".: cannot be written (Is a directory)"),
    (("--power", "nowhere.json"), "nowhere.json: cannot be read (No such file or directory)"),
]


@pytest.mark.parametrize(("options", "reason"), UNREADABLE)
def test_what_cannot_be_read_or_written_is_one_line_and_exit_2(attest: Run, options, reason: str):
    assert attest(*options) == (2, "", f"tritonmoe: {reason}\n")


def test_a_file_that_was_read_is_never_written_over(attest: Run, scene: Scene):
    before = scene.left.read_bytes()
    code, _, err = attest("-o", scene.left)
    assert (code, scene.left.read_bytes()) == (2, before)
    assert "is one of the files just read; write to another" in err


def test_a_time_that_is_none_is_refused(attest: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "now")
    assert attest()[2] == "tritonmoe: SOURCE_DATE_EPOCH is 'now'; expected seconds since 1970\n"


def test_a_disk_that_fills_leaves_no_half_certificate(attest: Run, monkeypatch: pytest.MonkeyPatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    code, _, err = attest()
    assert (code, err) == (2, "tritonmoe: certificate.json: cannot be written (No space left on device)\n")
    assert [each.name for each in Path().iterdir() if each.is_file()] == []


def test_a_certificate_may_go_to_a_pipe(run: Run, scene: Scene, tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    key = scene.folder / "team.key"
    assert run("attest", scene.left, scene.right, "--key", key, "-o", pipe)[0] == 0
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert b"payloadType" in os.read(reader, 2**16)
    os.close(reader)


def test_a_certificate_without_its_reports_is_not_verified(attest: Run, run: Run, scene: Scene):
    attest()
    code, _, err = run("verify", "certificate.json", "--key", scene.folder / "team.pub")
    assert (code, err.count("\n")) == (2, 1)
    assert "a certificate is verified against its reports: give --left and --right, or --bundle" in err


@pytest.mark.parametrize("command", ["keygen", "attest", "verify", "bundle"])
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as left:
        cli.main([command, "--help"])
    assert left.value.code == 0
    assert f"examples:\n  tritonmoe {command} " in capsys.readouterr().out
