"""The suite's part of the command line: certify, matrix, doctor. Imports what is heavy only when it runs."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
POWER = HERE.parent / "reports" / "evidence" / "power.json"  # on the pages, where a run is on record
PACKAGES = ["torch", "triton", "numpy", "hypothesis", "pytest", "pytest-xdist", "junitparser", "transformers"]
WORKERS = min(os.cpu_count() or 1, 12)
# What speaks of the layer on this platform; the tests of the suite itself and of other GPUs' code stay out.
CERTIFYING = ["test_matrix.py", "test_controls.py", "test_schedule.py", "test_properties.py"]
CERTIFYING += ["test_edges.py", "test_nan.py", "test_sizes.py", "test_tiles.py", "test_work.py"]
CERTIFYING += ["test_order.py", "test_replay.py"]
CERTIFYING += ["test_heights.py", "test_ranking.py", "test_dispatch.py", "test_arguments.py"]
CERTIFYING += ["test_models.py"] if find_spec("transformers") else []


def register(subparsers: argparse._SubParsersAction) -> None:
    """Adds the commands to the parser of `tritonmoe`."""
    _add_certify(subparsers)
    _add_matrix(subparsers)
    _add_doctor(subparsers)


def _add_certify(subparsers: argparse._SubParsersAction) -> None:
    parser = _parser(
        subparsers,
        "certify",
        "run the conformance suite here; write its report and a page",
        ("", "--profile smoke --platform gfx942", "--against reports/evidence/cuda-h200.xml"),
        description="Runs the 162 cases and the checks beside them on this machine, and writes PLATFORM.xml, "
        "PLATFORM.html, and PLATFORM-coverage.json, what was executed. Exit 0: all passed; 1: something "
        "failed, or a shipped launch configuration was not executed; 2: it could not run.",
    )
    parser.add_argument("--platform", default="auto", help="default: hardware if there is some, else gfx942")
    parser.add_argument("--profile", default="certify", choices=("smoke", "certify", "soak"))
    parser.add_argument("--workers", type=int, default=WORKERS, metavar="N", help=f"default here: {WORKERS}")
    parser.add_argument("-o", "--output", type=Path, default=Path("out"), metavar="DIR", help="default: out")
    parser.add_argument("--against", type=Path, metavar="XML", help="then compare with this report (parity)")
    parser.set_defaults(run=certify)


def certify(arguments: argparse.Namespace) -> int:
    """Runs the suite, then the reports' own commands on the XML that it wrote."""
    from .platforms import PlatformError, resolve

    try:
        platform = resolve(arguments.platform)
    except PlatformError as error:
        print(f"tritonmoe certify: {error}", file=sys.stderr)
        return 2
    report = arguments.output / f"{platform}.xml"
    page = report.with_suffix(".html")
    executed = arguments.output / f"{platform}-coverage.json"
    for path in (report, executed):
        path.unlink(missing_ok=True)
    workers = ["-n", str(arguments.workers)] if arguments.workers > 1 else []
    suite = [sys.executable, "-m", "pytest", "-q", *(str(HERE / name) for name in CERTIFYING), *workers]
    suite += ["--platform", platform, "--profile", arguments.profile, f"--junitxml={report}"]
    suite += [f"--coverage={executed}"]
    print(f"certifying {platform}, profile {arguments.profile}, {arguments.workers} processes", flush=True)
    outcome = subprocess.run(suite).returncode
    if outcome not in (0, 1) or not report.exists():
        print(f"tritonmoe certify: the suite did not run to its end (pytest exit {outcome})", file=sys.stderr)
        return 2
    # The XML file is all that passes from the suite to the reports, here too.
    of_suite = ["--coverage", str(executed), *(["--power", str(POWER)] if POWER.exists() else [])]
    reports = [sys.executable, "-m", "reports"]
    if subprocess.run([*reports, "page", str(report), "-o", str(page), *of_suite]).returncode:
        return 2
    print(f"report: {report}\npage:   {page}\nexecuted: {executed}", flush=True)
    for fault in unexecuted(json.loads(executed.read_text())):
        print(f"tritonmoe certify: {fault}", file=sys.stderr)
        outcome = 1
    if arguments.against:
        parity = arguments.output / "parity.html"
        sides = [str(arguments.against), str(report)]
        command = [*reports, "parity", *sides, "--live", "--page", str(parity), *of_suite]
        outcome = max(outcome, subprocess.run(command).returncode)
        print(f"page:   {parity}")
    return outcome


def unexecuted(coverage: dict) -> list[str]:
    """What a run must have executed and has not, one sentence each; `coverage` as the suite wrote it.

    Kernel statements count where the whole corpus ran on an emulated platform.
    """
    faults = []
    configurations, kernels = coverage["configurations"], coverage["kernels"]
    if missed := ", ".join(configurations["unexecuted"]):
        faults.append(
            f"shipped launch configurations of {configurations['family']} were not executed: {missed}; "
            "the corpus has to draw them, see conformance/README.md"
        )
    if kernels and coverage["profile"] != "smoke":
        where = "conformance/power/unexecuted.json"
        if missed := "; ".join(kernels["unexplained"]):
            faults.append(f"kernel statements were not executed, and {where} gives no reason: {missed}")
        if kernels["outdated"]:
            faults.append(
                f"{where} lists what was executed or is gone, remove it: {'; '.join(kernels['outdated'])}"
            )
    return faults


def _add_matrix(subparsers: argparse._SubParsersAction) -> None:
    examples = ("", "layer/deepseek_v3/bfloat16/zipf", "--json")
    parser = _parser(subparsers, "matrix", "list the 162 cases, or explain one", examples)
    parser.add_argument("case", nargs="?", help="a case's id: explain it")
    parser.add_argument("--json", action="store_true", help="for a machine")
    parser.set_defaults(run=matrix)


def matrix(arguments: argparse.Namespace) -> int:
    """Lists the cases with their examples, or explains one."""
    from . import corpus
    from .matrix import CASES, case_of

    try:
        cases = [case_of(arguments.case)] if arguments.case else list(CASES)
    except ValueError as error:
        print(f"tritonmoe matrix: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        rows = [{**case._asdict(), "id": case.id, "examples": corpus.to_json(case)} for case in cases]
        print(json.dumps(rows if not arguments.case else rows[0], indent=1))
    elif arguments.case:
        print(_explained(cases[0]))
    else:
        print("\n".join(case.id for case in cases))
    return 0


def _explained(case) -> str:
    from tritonmoe.contract import CONTRACTS

    from . import corpus
    from .matrix import MODELS, ROUTINGS, STAGES

    contract = CONTRACTS[case.stage]
    frozen = corpus.examples_of(case, "certify")
    shapes = sorted({(e.tokens, e.hidden, e.intermediate) for e in frozen})
    lines = [
        case.id,
        f"  stage    {case.stage}: {STAGES[case.stage]}",
        f"  model    {case.model}: {', '.join(f'{k}={v}' for k, v in MODELS[case.model].items())}",
        f"  dtype    {case.dtype}",
        f"  routing  {case.routing}: {ROUTINGS[case.routing]}",
        f"  contract products: {contract.products}; sums: {contract.accumulates}; order: {contract.order}",
        f"           rounded to {case.dtype}: {', '.join(contract.rounds) or 'nothing'}",
        *(f"           {rule}" for rule in contract.rules),
        f"  examples {len(frozen)}, {sum(e.family == 'exact' for e in frozen)} exact; tokens, hidden and "
        f"intermediate from {shapes[0]} to {shapes[-1]}",
        f"  run it   pytest conformance --profile certify --case {case.id}",
    ]
    return "\n".join(lines)


def _add_doctor(subparsers: argparse._SubParsersAction) -> None:
    parser = _parser(subparsers, "doctor", "what this machine can run, and why not more", ("", "--json"))
    parser.add_argument("--json", action="store_true", help="for a machine")
    parser.set_defaults(run=doctor)


def doctor(arguments: argparse.Namespace) -> int:
    """Platforms with their obstacles, versions, and the launch table that would be used."""
    from tritonmoe.launches import family

    from . import corpus
    from .environment import commit, source_digest
    from .platforms import EVIDENCE, obstacles, resolve

    found = obstacles()
    told = {
        "platforms": {name: {"evidence": EVIDENCE[name], "obstacle": found[name]} for name in EVIDENCE},
        "auto": resolve("auto"),
        "launches": family(),
        "versions": {name: _version(name) for name in PACKAGES},
        "source.digest": source_digest(),
        "corpus.digest": corpus.digest(),
        "commit": commit(),
    }
    if arguments.json:
        print(json.dumps(told, indent=1))
        return 0
    for name, row in told["platforms"].items():
        print(f"{name:12} {row['evidence']:12} {row['obstacle'] or 'runs here'}")
    print(f"--platform auto takes {told['auto']}; launch configurations from the table '{told['launches']}'")
    print("  ".join(f"{name} {found}" for name, found in told["versions"].items()))
    print(*(f"{name} {told[name][:16]}" for name in ("source.digest", "corpus.digest", "commit")), sep="  ")
    return 0


def _parser(
    subparsers: argparse._SubParsersAction, name: str, summary: str, examples: Sequence[str], **options: str
) -> argparse.ArgumentParser:
    """A command's parser, with the arguments of its examples shown as whole commands."""
    lines = [f"  tritonmoe {name} {each}".rstrip() for each in examples]
    return subparsers.add_parser(
        name,
        help=summary,
        epilog="\n".join(("examples:", *lines)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
