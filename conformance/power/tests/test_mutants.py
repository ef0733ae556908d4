"""The mutants of the tree as it is: all compile, none is another, and their ids outlive unrelated edits."""

import ast
from pathlib import Path

import pytest

import tritonmoe
from conformance.power import equivalents
from conformance.power.mutants import Mutant, all_mutants, mutants_of, named_mutants
from conformance.power.named import FAULTS
from conformance.power.syntax import Source

PACKAGE = Path(tritonmoe.__file__).parent
NAMED = 40  # at least so many faults of real projects


@pytest.fixture(scope="module")
def mutants() -> list[Mutant]:
    return all_mutants(PACKAGE)


def test_every_mutant_is_python_and_none_is_another(mutants: list[Mutant]) -> None:
    originals = {path.name: ast.dump(ast.parse(path.read_text())) for path in PACKAGE.glob("*.py")}
    seen = set()
    for mutant in mutants:
        compile(mutant.text, mutant.file, "exec")
        tree = (mutant.file, ast.dump(ast.parse(mutant.text)))
        assert tree[1] != originals[mutant.file], mutant.id
        assert tree not in seen or mutant.operator == "named", mutant.id
        seen.add(tree)


def test_ids_are_unique(mutants: list[Mutant]) -> None:
    assert len({mutant.id for mutant in mutants}) == len(mutants)


def test_an_id_outlives_edits_elsewhere_in_the_file() -> None:
    text = (PACKAGE / "combine.py").read_text()
    moved = "# a comment\n\n\ndef new(a, b):\n    return a\n\n\n" + text.replace("import torch\n", "", 1)
    kept = {mutant.id for mutant in mutants_of(Source("combine.py", moved))}
    assert {mutant.id for mutant in mutants_of(Source("combine.py", text))} <= kept


def test_every_stage_has_mutants(mutants: list[Mutant]) -> None:
    files = {mutant.file for mutant in mutants if mutant.kernel}
    assert files == {
        f"{name}.py" for name in ("router", "schedule", "pack", "tiles", "gate_up", "down", "combine")
    }


def test_named_faults_all_apply_and_say_whom_they_model() -> None:
    assert len(FAULTS) >= NAMED
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert all(fault.models and fault.wrong for fault in FAULTS)
    for mutant in named_mutants(PACKAGE):
        compile(mutant.text, mutant.file, "exec")


def test_the_equivalents_list_names_mutants_that_exist(mutants: list[Mutant]) -> None:
    listed = equivalents.read()
    assert set(listed) <= {mutant.id for mutant in mutants}
    operators = sum(mutant.operator != "named" for mutant in mutants)
    assert len(listed) <= 0.05 * operators
