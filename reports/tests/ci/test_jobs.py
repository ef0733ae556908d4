"""The scripts inside the workflows' jobs, run here in order: from the plan to a package that verifies."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from reports.tests.build import Draft
from reports.tests.ci.tree import ROOT

WORKFLOWS = ROOT / ".github" / "workflows"
DIVERGENT = "layer/mixtral/bfloat16/zipf"


class Runner:
    """A machine of the CI with the suite in suite/. Expressions are given their values by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.suite = folder, folder / "suite"
        self.suite.mkdir()
        shutil.copytree(ROOT / "ci", self.suite / "ci", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("reports", "pyproject.toml"):
            (self.suite / name).symlink_to(ROOT / name)
        # What ci/reports-only would install is here already: its stamp says so.
        command = self.suite / ".venv-reports" / "bin" / "tritonmoe"
        command.parent.mkdir(parents=True)
        command.write_text(f'#!/bin/bash\nexec {sys.executable} -m reports "$@"\n')
        command.chmod(0o755)
        sums = subprocess.run(
            ["sha256sum", "pyproject.toml", "ci/constraints.txt"],
            cwd=self.suite,
            capture_output=True,
            check=True,
        )
        stamp = hashlib.sha256(sums.stdout).hexdigest()[:16]
        (self.suite / ".venv-reports" / f"installed-{stamp}-reports").touch()
        # `python3` is the one that runs this.
        (folder / "bin").mkdir()
        (folder / "bin" / "python3").symlink_to(sys.executable)

    def job(self, workflow: str, name: str, **values: str) -> int:
        """Runs the job's scripts; the exit code of the first that fails, after those that run always."""
        job = yaml.safe_load((WORKFLOWS / f"{workflow}.yml").read_text())["jobs"][name]
        failed = 0
        for step in (step for step in job["steps"] if "run" in step):
            if step.get("if", "").startswith("inputs.") or (failed and step.get("if") != "always()"):
                continue  # what only an input asks for: none is given here
            wanted = set(step.get("env", {}))
            assert wanted <= set(values), f"step {step['name']!r} also needs {wanted - set(values)}"
            environment = {
                **{key: values[key] for key in wanted},
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "GITHUB_OUTPUT": str(self.folder / "output"),
                "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            }
            where = self.folder / step.get("working-directory", ".")
            # As GitHub starts a script without `shell:`.
            ran = subprocess.run(
                ["bash", "-e", "-c", step["run"]], cwd=where, env=environment, capture_output=True
            )
            failed = failed or ran.returncode
        return failed

    def outputs(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in (self.folder / "output").read_text().splitlines())

    def report(self, draft: Draft) -> None:
        """As the artifact of one platform's job arrives."""
        platform = draft.suite["platform"]
        folder = self.suite / "out" / "run" / f"report-{platform}"
        folder.mkdir(parents=True)
        draft.write(folder / f"{platform}.xml")


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def plan(runner: Runner, **values: str) -> int:
    usual = dict(LIST="ci/platforms.toml", PROFILE="certify", PLATFORMS="", RECORDED="", TRUSTED="true")
    return runner.job("parity", "plan", **(usual | values))


def test_from_the_plan_to_a_certificate_that_verifies(runner: Runner, tmp_path: Path):
    assert plan(runner, PLATFORMS="rocm,gfx942") == 0
    planned = runner.outputs()
    rows = json.loads(planned["matrix"])["include"]
    assert [row["id"] for row in rows] == ["rocm", "gfx942"]
    for row in rows:
        runner.report(Draft(row["id"]))
    assert runner.job("parity", "fan-in", EXPECT=planned["expect"], RECORDS=planned["records"]) == 0
    assert (tmp_path / "summary").read_text().startswith("# 1 of 1 pair in PARITY")
    assert _tritonmoe("keygen", "-o", str(tmp_path / "team")) == 0
    key = (tmp_path / "team.key").read_text()
    assert (
        runner.job("attest", "attest", EXPECT=planned["expect"], SIGNING_KEY=key, RUN="https://ci.example/1")
        == 0
    )
    package = runner.suite / "out" / "certificate" / "rocm-gfx942.zip"
    assert _tritonmoe("verify", str(package), "--key", str(tmp_path / "team.pub"), "--no-tree") == 0


def test_a_record_stays_a_record_through_all_jobs(runner: Runner, tmp_path: Path):
    assert plan(runner, PLATFORMS="gfx942", RECORDED="cuda") == 0
    planned = runner.outputs()
    Draft("cuda").write(runner.suite / "record.xml")  # in place of the list's, which is of other sources
    runner.report(Draft("gfx942"))
    assert planned["records"] == "reports/evidence/cuda-h200.xml"
    assert runner.job("parity", "fan-in", EXPECT=planned["expect"], RECORDS="record.xml") == 0
    assert runner.job("attest", "attest", EXPECT=planned["expect"], SIGNING_KEY="", RUN="") == 0
    out = runner.suite / "out" / "certificate"
    reports = json.loads((out / "fan-in.json").read_text())["reports"]
    assert [(each["platform"], each["recorded"]) for each in reports] == [("cuda", True), ("gfx942", False)]
    assert not list(out.glob("*.zip"))  # no key, no certificate


FAILING = [
    ("a job that left no report", [Draft("rocm")], 2, "missing: no report of platform gfx942"),
    ("no report at all", [], 2, "missing: no report of platform rocm"),
    ("one that fails", [Draft("rocm").fail(DIVERGENT), Draft("gfx942")], 1, DIVERGENT.replace("_", "\\_")),
]


@pytest.mark.parametrize(
    ("drafts", "code", "says"), [row[1:] for row in FAILING], ids=[row[0] for row in FAILING]
)
def test_a_run_that_is_not_in_parity_fails_and_still_writes_its_summary(
    runner: Runner, tmp_path: Path, drafts: list[Draft], code: int, says: str
):
    for draft in drafts:
        runner.report(draft)
    assert runner.job("parity", "fan-in", EXPECT="rocm,gfx942", RECORDS="") == code
    assert says in (tmp_path / "summary").read_text()


@pytest.mark.parametrize("values", [{}, {"PLATFORMS": "rocm,gfx942"}])
def test_a_strangers_change_gets_no_plan_that_needs_our_machines(runner: Runner, values: dict[str, str]):
    assert plan(runner, TRUSTED="false", **values) == 2
    assert plan(runner, TRUSTED="false", PROFILE="smoke") == 0
    rows = json.loads(runner.outputs()["matrix"])["include"]
    assert {row["runs-on"] for row in rows} == {'["ubuntu-24.04"]'}


def _tritonmoe(*arguments: str) -> int:
    return subprocess.run(
        [sys.executable, "-m", "reports", *arguments], cwd=ROOT, capture_output=True
    ).returncode
