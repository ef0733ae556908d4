"""The frozen corpus: what Hypothesis drew, once, so that every platform runs the same examples.

`python -m conformance.corpus` draws it anew; `--check` tells what the committed one holds.
"""

import argparse
import dataclasses
import hashlib
import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import hypothesis

from .matrix import CASES, MATRIX_VERSION, MODELS, Case
from .strategies import Example, examples

PATH = Path(__file__).with_name("corpus.json")
FOUND = Path(__file__).with_name("found.json")
EXAMPLES = 24  # a case
SMOKE = 4  # of them


def examples_of(case: Case, profile: str) -> list[Example]:
    """The case's frozen examples: the first few for "smoke", otherwise all, and those found to fail
    anywhere.
    """
    frozen = [Example.from_row(row) for row in _load()["cases"][case.id]]
    found = [Example.from_json(data) for data in _found().get(case.id, ())]
    return (frozen[:SMOKE] if profile == "smoke" else frozen) + found


def to_json(case: Case) -> list[dict]:
    """All frozen examples of a case, fields by name."""
    return [example.to_json() for example in examples_of(case, "certify")]


def digest() -> str:
    """SHA-256 of the corpus and of what was found since."""
    return hashlib.sha256(PATH.read_bytes() + (FOUND.read_bytes() if FOUND.exists() else b"")).hexdigest()


def remember(case: Case, example: Example) -> None:
    """Adds a failing example to the found ones, for good."""
    found = _found()
    mine = found.setdefault(case.id, [])
    if example.to_json() not in mine:
        mine.append(example.to_json())
        FOUND.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")


def draw(case: Case, number: int = EXAMPLES) -> list[Example]:
    """As many distinct examples, half of either family, the families alternating, by Hypothesis,
    derandomized.
    """
    wanted = {"exact": number - number // 2, "real": number // 2}
    drawn: dict[str, list[Example]] = {family: [] for family in wanted}

    @hypothesis.seed(int(hashlib.sha256(case.id.encode()).hexdigest()[:8], 16))
    @hypothesis.settings(
        max_examples=400,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(examples(case.routing, MODELS[case.model]["top_k"]))
    def collect(example: Example) -> None:
        mine = drawn[example.family]
        if len(mine) < wanted[example.family] and example not in mine:
            mine.append(example)

    collect()
    if any(len(drawn[family]) < wanted[family] for family in wanted):
        raise RuntimeError(f"{case.id}: Hypothesis drew too few distinct examples: {wanted} wanted")
    pairs = zip(drawn["exact"], drawn["real"], strict=True)
    return [example for pair in pairs for example in pair]


@cache
def _load() -> dict:
    return json.loads(PATH.read_text())


def _found() -> dict[str, list[dict]]:
    return json.loads(FOUND.read_text()) if FOUND.exists() else {}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m conformance.corpus", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="tell what the committed corpus holds, change nothing"
    )
    if parser.parse_args(arguments).check:
        print(
            f"{len(_load()['cases'])} cases, digest {digest()}, drawn by Hypothesis {_load()['hypothesis']}"
        )
        return 0
    drawn = {}
    for number, case in enumerate(CASES, 1):
        drawn[case.id] = [example.to_row() for example in draw(case)]
        if sys.stderr.isatty() or number % 27 == 0:
            print(
                f"{number} of {len(CASES)} cases", end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr
            )
    _write(drawn)
    print(f"{PATH}: {PATH.stat().st_size} bytes, digest {digest()}", file=sys.stderr)
    return 0


def _write(drawn: dict[str, list]) -> None:
    """One example a line, so that a change of the corpus can be read."""
    cases = ",\n".join(
        f"{json.dumps(name)}: [\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "]"
        for name, rows in drawn.items()
    )
    fields = json.dumps([field.name for field in dataclasses.fields(Example)])
    PATH.write_text(
        f'{{"matrix": "{MATRIX_VERSION}", "hypothesis": "{hypothesis.__version__}", "fields": {fields},\n'
        f'"cases": {{\n{cases}\n}}}}\n'
    )


if __name__ == "__main__":
    sys.exit(main())
