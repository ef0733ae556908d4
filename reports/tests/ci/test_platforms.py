"""The list of platforms is refused for what is wrong with it; what is made of it is what the list says."""

import json
import subprocess
from pathlib import Path

import pytest

from reports.model import EVIDENCE
from reports.tests.ci.tree import ROOT, matrix, platforms

GOOD = """
[hosted]
github = "ubuntu-24.04"
image = "python:3.12.1"

[[platform]]
id = "rocm"
evidence = "hardware"
required = ["certify"]
runs_on = ["self-hosted", "amd"]
minutes = 30
probe = ["test", "-w", "/dev/kfd"]
containerfile = "ci/containers/rocm.Dockerfile"
image = "rocm/dev-ubuntu-24.04:7.2.4"
torch_index = "https://download.pytorch.org/whl/rocm7.2"
docker_options = ["--device=/dev/kfd", "--label=two words"]
pytest_options = ["-x", "--maxfail=2"]
record = "reports/evidence/cuda-h200.xml"

[[platform]]
id = "gfx942"
evidence = "emulated"
required = ["smoke", "certify"]
runs_on = ["ubuntu-24.04"]
minutes = 60
"""
AMD = 'runs_on = ["self-hosted", "amd"]'
IMAGE = 'image = "rocm/dev-ubuntu-24.04:7.2.4"'
FILE = 'containerfile = "ci/containers/rocm.Dockerfile"'
WRONG = [
    ('id = "rocm"', 'id = "hip"', "[[platform]] number 1: id is 'hip'; expected one of cuda, rocm"),
    (
        'id = "gfx942"',
        'id = "rocm"',
        "platform rocm: evidence is 'emulated'; expected 'hardware': no other claim",
    ),
    ('"emulated"', '"hardware"', "platform gfx942: evidence is 'hardware'; expected 'emulated'"),
    ('required = ["certify"]', "", "platform rocm: required is missing; expected a list of profiles"),
    (
        '["certify"]',
        '["soak"]',
        "platform rocm: required is ['soak']; expected a list of profiles (smoke, certify)",
    ),
    (AMD, "runs_on = []", "platform rocm: runs_on is []; expected a list of runner labels, one or more"),
    (AMD, 'runs_on = "amd"', "platform rocm: runs_on is 'amd'; expected a list of runner labels"),
    (
        AMD,
        'runs_on = ["${{ x }}"]',
        "platform rocm: runs_on is ['${{ x }}']; expected a list of runner labels",
    ),
    (
        "minutes = 30",
        "minutes = 0",
        "platform rocm: minutes is 0; expected the time limit of its job, 1 to 360",
    ),
    ("minutes = 30", "minutes = true", "platform rocm: minutes is True; expected the time limit"),
    (
        'probe = ["test", "-w", "/dev/kfd"]',
        "",
        "platform rocm: probe is missing; expected a command that fails",
    ),
    (
        FILE,
        'containerfile = "/etc/passwd"',
        "containerfile is '/etc/passwd'; expected a container file, a path",
    ),
    (
        FILE,
        'containerfile = "ci/../README.md"',
        "containerfile is 'ci/../README.md'; expected a container file",
    ),
    (FILE, 'containerfile = "ci/nothing"', "containerfile is 'ci/nothing'; expected a container file"),
    (
        FILE,
        "",
        "platform rocm: containerfile is missing; expected one, since it gives docker_options and image",
    ),
    (IMAGE, "", "platform rocm: image is missing; expected an image with a digest"),
    (
        IMAGE,
        'image = "rocm/pytorch:latest"',
        "image is 'rocm/pytorch:latest'; expected an image with a digest",
    ),
    (IMAGE, 'image = "rocm/pytorch"', "image is 'rocm/pytorch'; expected an image with a digest"),
    (IMAGE, 'image = "rocm/pytorch:nightly-7.2"', "image is 'rocm/pytorch:nightly-7.2'; expected an image"),
    (IMAGE, 'image = "rocm/pytorch@sha256:12"', "image is 'rocm/pytorch@sha256:12'; expected an image"),
    (
        '"https://d',
        '"http://d',
        "torch_index is 'http://download.pytorch.org/whl/rocm7.2'; expected an https URL",
    ),
    ("minutes = 60", "minutes = 60\ngpu = 1", "platform gfx942: 'gpu' is no field; expected containerfile"),
    (
        'record = "reports',
        'record = "/reports',
        "record is '/reports/evidence/cuda-h200.xml'; expected a report",
    ),
    ('"python:3.12.1"', '"python"', "[hosted]: image is 'python'; expected an image with a digest"),
    ('github = "ubuntu-24.04"', "", "[hosted]: github is missing; expected the label of a hosted runner"),
    ("[hosted]", "[host]", "the file: 'host' is no field; expected hosted, platform"),
    ("minutes = 60", "minutes = ", "is no TOML"),
]


@pytest.fixture
def listed(tmp_path: Path):
    """Writes a list and reads it."""

    def made(text: str = GOOD):
        path = tmp_path / "platforms.toml"
        path.write_text(text)
        return platforms.read(path)

    return made


def test_the_projects_own_list_is_sound():
    assert [entry.id for entry in platforms.read().entries] == ["cuda", "rocm", "gfx942", "interpreter"]


def test_a_platforms_word_is_worth_the_same_here_and_in_the_reports():
    assert platforms.EVIDENCE == EVIDENCE


@pytest.mark.parametrize(("good", "wrong", "message"), WRONG)
def test_a_wrong_list_is_refused_by_entry_and_field(listed, good: str, wrong: str, message: str):
    assert good in GOOD
    with pytest.raises(platforms.ListError) as refused:
        listed(GOOD.replace(good, wrong))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_platform_twice_is_refused(listed):
    entry = GOOD[GOOD.rindex("[[platform]]") :]
    with pytest.raises(platforms.ListError, match="platform gfx942 is there twice"):
        listed(GOOD + entry)


def test_a_list_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(platforms.ListError, match="cannot be read"):
        platforms.read(tmp_path / "none.toml")


def test_only_the_one_hosted_label_makes_a_platform_hosted(listed):
    also = GOOD.replace('runs_on = ["ubuntu-24.04"]', 'runs_on = ["ubuntu-24.04", "gpu"]')
    assert [entry.hosted for entry in listed().entries] == [False, True]
    assert [entry.hosted for entry in listed(also).entries] == [False, False]


PLANS = [
    (("certify",), {}, "rocm,gfx942"),
    (("certify", ["gfx942", "rocm"]), {}, "gfx942,rocm"),
    (("certify", (), ["rocm"]), {}, "rocm,gfx942"),
    (("certify", ["gfx942"], ["rocm"]), {}, "rocm,gfx942"),
    (("certify", (), ["rocm"]), {"untrusted": True}, "rocm,gfx942"),
]
NO_PLANS = [
    (("smoke",), {}, "profile smoke has the platforms gfx942; expected two or more"),
    (("certify", ["rocm"]), {}, "profile certify has the platforms rocm; expected two or more"),
    (("certify", ["rocm", "rocm"]), {}, "platform rocm is asked for twice"),
    (("certify", ["cuda", "rocm"]), {}, "platform 'cuda' is not in the list; expected one of rocm, gfx942"),
    (("certify", (), ["gfx942"]), {}, "platform gfx942 has no record that could stand in"),
    (("smoke", ["gfx942"], ["rocm"]), {}, "a record is of profile certify, and this run of smoke"),
    (("certify",), {"untrusted": True}, "gfx942 (rocm: its runner is not a hosted one, and this change is"),
]


@pytest.mark.parametrize(("chosen", "how", "expect"), PLANS)
def test_a_plan_expects_every_platform_that_was_chosen(listed, chosen, how, expect: str):
    assert matrix.plan(listed(), *chosen, **how).expect == expect


@pytest.mark.parametrize(("chosen", "how", "message"), NO_PLANS)
def test_a_plan_that_compares_nothing_is_refused(listed, chosen, how, message: str):
    with pytest.raises(platforms.ListError) as refused:
        matrix.plan(listed(), *chosen, **how)
    assert message in str(refused.value)


def test_a_strangers_change_gets_no_machine_of_ours(listed):
    made = matrix.plan(listed(), "certify", ["rocm", "gfx942"], ["rocm"], untrusted=True)
    assert [entry.id for entry in made.live] == ["gfx942"]
    smoke = matrix.plan(platforms.read(), "smoke", untrusted=True)
    assert smoke.live
    assert all(entry.hosted for entry in smoke.live)


def test_github_gets_a_row_a_platform_that_runs(listed):
    lines = dict(line.split("=", 1) for line in matrix.github(matrix.plan(listed(), "certify")).splitlines())
    rows = json.loads(lines["matrix"])["include"]
    assert [(row["id"], json.loads(row["runs-on"]), row["minutes"]) for row in rows] == [
        ("rocm", ["self-hosted", "amd"], 30),
        ("gfx942", ["ubuntu-24.04"], 60),
    ]
    assert lines["expect"] == "rocm,gfx942"
    recorded = matrix.github(matrix.plan(listed(), "certify", (), ["rocm"]))
    assert "records=reports/evidence/cuda-h200.xml" in recorded.splitlines()


def test_gitlab_gets_a_job_a_platform_and_one_that_waits_for_all(listed):
    pipeline = matrix.gitlab(matrix.plan(listed(), "certify"), listed())
    jobs = {name: job for name, job in pipeline.items() if name not in ("stages", "workflow")}
    assert list(jobs) == ["rocm", "gfx942", "fan-in", "sign"]
    assert {need["job"] for need in jobs["sign"]["needs"]} == {"rocm", "gfx942", "fan-in"}
    assert [name for name, job in jobs.items() if "SIGNING_KEY" in str(job["script"])] == ["sign"]
    assert jobs["sign"]["environment"]["name"] == "parity-signing"
    assert "when" not in jobs["sign"], "it waits for the success of what it needs"
    assert [need["job"] for need in jobs["fan-in"]["needs"]] == ["rocm", "gfx942"]
    assert jobs["rocm"]["tags"] == ["self-hosted", "amd"]
    assert "tags" not in jobs["gfx942"]
    assert "--expect rocm,gfx942 " in jobs["fan-in"]["script"][-1]
    assert len({job["artifacts"]["name"] for job in jobs.values()}) == len(jobs)
    for job in jobs.values():
        assert job["stage"] in pipeline["stages"]
        assert job["timeout"].endswith(" minutes")
        assert job["artifacts"]["when"] == "always"
        assert "image" in job or "tags" in job


def test_bash_gets_every_word_of_an_entry_as_it_is_in_the_list(listed):
    entry = listed().get("rocm")
    script = matrix.shell(entry) + '\nprintf "%s\\n" "$platform_image" "${platform_docker_options[@]}"'
    printed = subprocess.run(["bash", "-uc", script], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == [entry.image, "--device=/dev/kfd", "--label=two words"]


def test_the_command_says_what_is_wrong_in_one_line(capsys):
    assert matrix.main(["ids", "--only", "cuda,cuda"]) == 2
    assert (
        capsys.readouterr().err == "ci/matrix.py: platform cuda is asked for twice; expected each id once\n"
    )
    assert matrix.main(["shell"]) == 2
    assert matrix.main(["check"]) == 0
    assert matrix.main(["ids", "--profile", "smoke"]) == 0
    assert capsys.readouterr().out == "gfx942\ninterpreter\n"


def test_containers_are_those_of_the_list():
    for entry in platforms.read().entries:
        if entry.containerfile:
            text = (ROOT / entry.containerfile).read_text()
            assert f"\nARG BASE={entry.image}\nFROM ${{BASE}}\n" in text
            assert f"\nARG TORCH_INDEX={entry.torch_index}\n" in text
            assert "@sha256:" in entry.image
            assert f'ENTRYPOINT ["bash", "ci/platform", "{entry.id}", "-o", "/out"]' in text
