"""Correct variants fit the sources, and a run of them tells a refused layer from one that passes."""

import argparse
import ast
from pathlib import Path
from random import Random

import pytest
import torch

from conformance.matrix import CASES, case_of
from conformance.power import commands, false_alarms
from conformance.power.coverage import layer
from conformance.power.variants import VARIANTS, Edit, Variant, sources
from tritonmoe.launches import shipped

CASE = "gate_up/mixtral/float32/balanced"


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_every_variant_fits_the_sources(variant: Variant) -> None:
    texts = sources(variant, layer())
    assert texts
    for file, text in texts.items():
        ast.parse(text)
        assert text != (layer() / file).read_text()


def test_an_edit_that_does_not_fit_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    for old in ("x = 1", "y = 1"):
        with pytest.raises(ValueError, match=old):
            sources(Variant("v", ("layer",), (Edit("a.py", old, "z"),)), tmp_path)


def test_a_seed_stands_for_its_runs() -> None:
    runs = false_alarms.plan(60, 3)
    assert runs == false_alarms.plan(60, 3)
    assert runs != false_alarms.plan(60, 4)
    assert {run.kind for run in runs} == set(false_alarms.KINDS)
    stages = {variant.name: variant.stages for variant in VARIANTS}
    assert all(case_of(run.case).stage in stages.get(run.kind, (case_of(run.case).stage,)) for run in runs)


@pytest.mark.parametrize("name", [case.id for case in CASES[::40]])
def test_fresh_examples_are_of_both_families_and_follow_from_the_seed(name: str) -> None:
    case = case_of(name)
    made = false_alarms.fresh(case, 4, 11)
    assert [example.family for example in made] == ["exact", "real"] * 2
    assert made == false_alarms.fresh(case, 4, 11)
    assert made != false_alarms.fresh(case, 4, 12)


def test_drawn_configurations_are_legal() -> None:
    for seed in range(50):
        launch = false_alarms._drawn(shipped(torch.float16, "cdna3")[0][0], Random(seed))
        for tile in (launch.gate_up, launch.down):
            assert tile.short < tile.block_m == launch.block_m
            assert not (tile.swapped and tile.wide)
            assert tile.wide or not tile.packed


def test_a_correct_layer_passes_and_a_wrong_one_is_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Variant(
        "wrong", ("gate_up",), (Edit("gate_up.py", "1.0 + tl.exp(-gate)", "1.1 + tl.exp(-gate)"),)
    )
    right = next(variant for variant in VARIANTS if variant.name == "SiLU by exp2")
    runs = [false_alarms.Run(0, wrong.name, CASE, 1), false_alarms.Run(1, right.name, CASE, 1)]
    monkeypatch.setattr(false_alarms, "VARIANTS", (wrong, right))
    monkeypatch.setattr(false_alarms, "KINDS", (wrong.name, right.name))
    monkeypatch.setattr(false_alarms, "plan", lambda number, seed: runs)
    report = false_alarms.run_false_alarms(2, 0, 1)
    assert (report.runs, report.examples) == (2, 2 * false_alarms.EXAMPLES)
    assert [alarm["run"] for alarm in report.alarms] == [0]
    assert "outside" in report.alarms[0]["faults"][0]
    assert "refused: run 0, wrong" in str(report)


def test_the_command_hands_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(false_alarms, "main", lambda arguments: given.append(arguments) or 1)
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())
    for asked in (["--false-alarms"], ["--false-alarms", "12", "--seed", "0", "--json", "out.json"]):
        arguments = parser.parse_args(["power", *asked, "--workers", "3"])
        assert arguments.run(arguments) == 1
    assert given == [
        ["--runs", "300", "--workers", "3"],
        ["--runs", "12", "--workers", "3", "--seed", "0", "--json", "out.json"],
    ]
