"""The command `tritonmoe` without a process of its own: quick, and seen by whoever measures coverage."""

import contextlib
import io
import subprocess

from reports import cli


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """As a process would end: exit code, standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main([str(each) for each in arguments])
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
