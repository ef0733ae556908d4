"""What the suite writes of itself, for tests to spoil: a power run and a coverage file."""

import json
from pathlib import Path
from typing import Any

from .build import sha


def power_run(**changes: Any) -> dict[str, Any]:
    """As `tritonmoe power --json` writes it: 6 mutants by operators, 2 named faults."""
    mutants = [
        mutant(f"combine.py:combine_kernel:{operator}:{number}", operator=operator)
        for operator in ("compare", "mask")
        for number in range(3)
    ]
    mutants[1] |= {"killed": False, "by": "", "how": "", "equivalent": "only the order of programs changes"}
    mutants[2] |= {"killed": False, "by": "", "how": ""}
    mutants += [
        mutant("named:zeros", operator="named", models="KernelBench #165", description="the output is zeros"),
        mutant("named:cut", operator="named", models="aiter #5151", description="the output is cut"),
    ]
    run = {"digest": sha("run"), "source.digest": sha("sources"), "seed": None, "platform": "gfx942"}
    return {**run, "seconds": 100, "summary": {}, "mutants": mutants, **changes}


def mutant(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": name,
        "where": "combine.py:59 combine_kernel",
        "operator": "compare",
        "description": "takes < for <=",
        "diff": "--- tritonmoe/combine.py\n-    mask = h <= hidden\n+    mask = h < hidden\n",
        "killed": True,
        "by": "combine/mixtral/float32/zipf",
        "how": "wrong result",
        "message": "y[1, 2]",
        "examples": 3,
        "seconds": 1.5,
        **changes,
    }


def coverage_run(**changes: Any) -> dict[str, Any]:
    """As the suite writes it with `--coverage`: one part of a kernel is explained, one is not."""
    parts = [part("down.down_kernel", "if PERSISTENT:", "on hardware only"), part("pack.pack", "else:", None)]
    return {
        "platform": "gfx942",
        "profile": "certify",
        "source.digest": sha("sources"),
        "triton": "3.7.1",
        "kernels": {"statements": 375, "executed": 373, "functions": {}, "unexecuted": parts},
        "configurations": {"family": "cdna3", "shipped": ["cdna3/32bit", "cdna3/16bit"], "unexecuted": []},
        "host": {"branches": 180, "taken": 86, "files": {}},
        **changes,
    }


def part(function: str, source: str, why: str | None) -> dict[str, Any]:
    lines = {"function": function, "source": source, "lines": [49, 49], "statements": 1}
    return {**lines, "compiled": True, "why": why}


def put(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path
