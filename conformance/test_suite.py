"""The suite itself: its matrix and corpus, what its judgement sees, and the report that it writes."""

import dataclasses
import json
import os
import subprocess
import sys
from importlib.metadata import DistributionFinder
from pathlib import Path

import hypothesis
import junitparser
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from junitparser import xunit2

from conformance import corpus, platforms
from conformance.environment import source_digest
from conformance.expectations import judge
from conformance.guards import Guards
from conformance.inputs import build
from conformance.judge import Judgement
from conformance.matrix import CASES, DTYPES, MODELS, ROUTINGS, STAGES, case_of
from conformance.philox import Stream
from conformance.reference import Heights, Quantity, check_choice, dot, silu
from conformance.strategies import LAYOUTS, Example, routing_tables, shapes
from conformance.tables import DEGENERATE, RoutingTable
from tritonmoe import MoEConfig
from tritonmoe.launches import families, shipped

CPU = torch.device("cpu")


def test_the_matrix_is_162_cases_with_ids_that_mean_their_axes() -> None:
    ids = {case.id for case in CASES}
    assert len(ids) == len(CASES) == 162
    assert ids == {f"{s}/{m}/{d}/{r}" for s in STAGES for m in MODELS for d in DTYPES for r in ROUTINGS}
    assert all(case_of(case.id) == case for case in CASES)


def test_the_corpus_holds_distinct_examples_of_both_families_for_every_case() -> None:
    for case in CASES:
        frozen = corpus.examples_of(case, "certify")
        assert len(frozen) == len(set(frozen)) >= 20
        smoke = corpus.examples_of(case, "smoke")
        assert {e.family for e in smoke} == {"exact", "real"}
        assert set(smoke) <= set(frozen)


def test_the_corpus_reaches_every_configuration_layout_and_pattern() -> None:
    drawn = [(case, example) for case in CASES for example in corpus.examples_of(case, "certify")]
    for name in families():
        for dtype in DTYPES.values():
            choices = shipped(dtype, name)
            for stage in STAGES:
                ranks = {
                    e.launch % len(choices) for c, e in drawn if c.stage == stage and c.torch_dtype == dtype
                }
                assert ranks == set(range(len(choices)))
    assert {e.layout for _, e in drawn} == set(LAYOUTS)
    assert {e.routing.pattern for _, e in drawn} == {"", *DEGENERATE}
    assert {e.routing.skip for _, e in drawn} == {"none", "minus_one", "beyond"}
    assert max(e.routing.exponent for _, e in drawn) == 2.5


def test_the_corpus_is_what_hypothesis_draws_today() -> None:
    """In a process of its own: what Hypothesis draws depends on constants in all imported local modules."""
    assert corpus._load()["hypothesis"] == hypothesis.__version__
    script = (
        "from conformance import corpus; from conformance.matrix import CASES;"
        "frozen = corpus._load()['cases'];"
        "print([[e.to_row() for e in corpus.draw(case)] == frozen[case.id] for case in CASES[::80]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.strip() == "[True, True, True]", done.stdout + done.stderr


@given(st.sampled_from(CASES), st.data())
@settings(max_examples=20, deadline=None)
def test_an_example_survives_json_both_ways(case, data) -> None:
    example = data.draw(st.sampled_from(corpus.examples_of(case, "certify")))
    assert Example.from_json(json.loads(json.dumps(example.to_json()))) == example
    assert Example.from_row(json.loads(json.dumps(example.to_row()))) == example


@given(routing_tables(kind="zipf"), shapes(), st.integers(2, 64), st.data())
@settings(max_examples=50, deadline=None)
def test_the_strategies_serve_any_model(table: RoutingTable, shape, experts: int, data) -> None:
    top_k = data.draw(st.integers(1, experts))
    ids = table.ids(Stream(1, "ids"), shape[0], experts, top_k)
    assert tuple(ids.shape) == (shape[0], top_k)
    for row in ids.tolist():
        served = [i for i in row if 0 <= i < experts]
        assert len(served) == len(set(served))
        assert table.skip != "none" or len(served) == top_k


def test_random_bits_are_philox_and_never_change() -> None:
    assert Stream(1, "x")._raw(2).tolist() == np.random.Philox(key=[1, ord("x")]).random_raw(2).tolist()
    assert Stream(1, "x").normal((3,)).tolist() == NORMAL
    assert Stream(1, "x").integers((4,), -3, 4).tolist() == INTEGERS


NORMAL = [-0.23376589053043317, 0.8154980574569866, 0.25543779897983454]
INTEGERS = [1, 2, -1, 1]


def test_the_input_digest_sees_every_bit() -> None:
    case = case_of("layer/qwen2_moe/bfloat16/zipf")
    example = corpus.examples_of(case, "smoke")[0]
    inputs = build(case, example)
    again = build(case, example)
    assert inputs.digest() == again.digest()
    again.tensors["w_down"][-1, -1, -1] += 1
    assert inputs.digest() != again.digest()


FAULTS = {
    "truncated store": lambda y: _truncated(y),
    "scaled by 1.004": lambda y: (y.float() * 1.004).bfloat16(),
    "rounded twice": lambda y: (y.float() * 3).bfloat16().float().div(3).bfloat16(),
    "a sign flipped": lambda y: torch.cat((-y[:1], y[1:])),
    "an infinity": lambda y: y.masked_fill(y == y.max(), float("inf")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_judgement_sees(fault: str) -> None:
    a, b = Stream(1, "a").normal((64, 32)), Stream(1, "b").normal((64, 48, 32))
    expected = dot(Quantity.given(a), b, torch.bfloat16, exact=False).stored(torch.bfloat16)
    right = expected.value.bfloat16()
    for output, accepted in ((right, True), (FAULTS[fault](right), False)):
        judgement = Judgement()
        judgement.real("y", output, expected, torch.bfloat16)
        assert (judgement.faults == []) == accepted, judgement.faults


@pytest.mark.parametrize(("follows", "accepted"), [(1.0, True), (-1.0, False)], ids=["as", "against"])
def test_errors_may_lean_where_the_same_roundings_do_in_the_simulated_kernel(
    follows: float, accepted: bool
) -> None:
    """A row that one rounded activation rules: all its errors have that rounding's sign."""
    value = Stream(3, "v").normal((4, 64)).double().half().double()
    lean = 3 * 2.0**-11 * value
    expected = Quantity(value, 4 * lean.abs(), lean.abs() / 2, value + lean)
    judgement = Judgement()
    judgement.real("y", (value + follows * lean).half(), expected, torch.float16)
    assert (judgement.faults == []) == accepted, judgement.faults
    assert accepted or "unbalanced" in judgement.faults[0]


def _truncated(y: torch.Tensor) -> torch.Tensor:
    """As a store makes it that drops bits: half of the values end one unit nearer to zero."""
    nearer = torch.nextafter(y.float(), torch.zeros(())).bfloat16()
    step = (y.view(torch.int16) - 1).view(torch.bfloat16)
    return torch.where(Stream(2, "t").uniform(tuple(y.shape)) < 0.5, step, nearer)


def test_an_output_of_another_dtype_or_shape_is_refused() -> None:
    expected = Quantity.given(torch.ones(3, 4))
    for output in (torch.ones(3, 4).half(), torch.ones(4, 3)):
        judgement = Judgement()
        judgement.real("y", output, expected, torch.float32)
        assert "expected (3, 4) torch.float32" in judgement.faults[0]


def test_a_sum_that_is_not_exact_everywhere_is_no_exact_example() -> None:
    big = Quantity.given(torch.tensor([[2.0**12, 1.0]]))
    with pytest.raises(AssertionError, match="not exact on all hardware"):
        dot(big, torch.tensor([[[2.0**12, 1.0]]], dtype=torch.float64), torch.float16, exact=True)


@given(st.floats(-120, 120), st.floats(0, 1))
@settings(max_examples=300, deadline=None)
def test_the_bound_of_silu_holds_the_exact_value_of_a_moved_argument(gate: float, moved: float) -> None:
    x = torch.tensor([[gate]], dtype=torch.float64)
    error = torch.full_like(x, 2.0**-6)
    bounded = silu(Quantity(x, error, error * 0, x), torch.zeros_like(x))
    actual = (x + moved * error) * torch.sigmoid(x + moved * error)
    assert ((actual - bounded.value).abs() <= bounded.bound).all()


CHOICES = [  # logits, ids, whether that choice is right
    ([0.0, 3.0, 2.0, 1.0], [1, 2], True),
    ([0.0, 3.0, 2.0, 1.0], [2, 1], False),
    ([0.0, 3.0, 2.0, 1.0], [1, 3], False),
    ([5.0, 5.0, 5.0, 1.0], [0, 1], True),
    ([5.0, 5.0, 5.0, 1.0], [0, 2], False),
    ([5.0, 5.0, 5.0, 1.0], [1, 0], False),
    ([5.0, 5.0, 5.0, 1.0], [0, 0], False),
    ([5.0, 5.0, 5.0, 1.0], [0, 4], False),
]


@pytest.mark.parametrize(("logits", "ids", "right"), CHOICES)
def test_an_exact_choice_is_by_value_then_by_index(logits: list[float], ids: list[int], right: bool) -> None:
    config = MoEConfig(experts=4, top_k=2, hidden=1, intermediate=1)
    logit = Quantity.given(torch.tensor([logits]))
    assert (check_choice(torch.tensor([ids]), logit, logit, None, config).wrong == [""]) == right


def test_values_closer_than_their_bounds_may_come_in_either_order_and_are_counted() -> None:
    config = MoEConfig(experts=4, top_k=2, hidden=1, intermediate=1)
    value = torch.tensor([[1.0, 1.0 + 1e-9, 0.0, -1.0]], dtype=torch.float64)
    logit = Quantity(value, torch.full_like(value, 1e-8), torch.zeros_like(value), value)
    for ids in ([0, 1], [1, 0]):
        check = check_choice(torch.tensor([ids]), logit, logit, None, config)
        assert check.wrong == [""]
        assert check.near.tolist() == [True]


def test_guards_see_a_write_past_an_output_and_into_an_input() -> None:
    guards = Guards(CPU)
    x = guards.place("x", torch.ones(4, 4), "padded")
    with guards.watching():
        y = torch.empty(3, 5)
    assert torch.isnan(y).all()
    assert guards.violations() == []
    y.as_strided((16,), (1,))[15] = 0
    x[0, 0] = 2
    found = guards.violations()
    assert len(found) == 2
    assert found[0].startswith("input x: ")
    assert found[1].startswith("output (3, 5): ")


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS)))
def test_every_layout_holds_the_same_values_inside_poison(layout: str) -> None:
    tensor = Stream(1, "t").normal((3, 4, 5)).bfloat16()
    placed = Guards(CPU).place("t", tensor, layout)
    assert torch.equal(placed, tensor)


def test_the_source_digest_is_stable_and_hex() -> None:
    assert source_digest() == source_digest()
    assert len(bytes.fromhex(source_digest())) == 32


def test_an_unknown_platform_is_refused_by_name() -> None:
    with pytest.raises(platforms.PlatformError, match="'tpu' is unknown; expected auto or one of cuda, rocm"):
        platforms.activate("tpu")


@pytest.mark.parametrize("package", ["triton_rocm", "pytorch_triton_rocm"])
def test_triton_is_found_under_the_name_that_torch_for_rocm_gives_it(package: str, tmp_path: Path) -> None:
    from conformance.platforms.rocm import _Renamed

    (tmp_path / f"{package}-3.7.9.dist-info").mkdir()
    (tmp_path / f"{package}-3.7.9.dist-info" / "METADATA").write_text(f"Name: {package}\nVersion: 3.7.9\n")
    for name, versions in (("triton", ["3.7.9"]), ("torch", [])):
        context = DistributionFinder.Context(name=name, path=[str(tmp_path)])
        assert [each.version for each in _Renamed().find_distributions(context)] == versions


def _suite(*options: str, source: Path | None = None) -> subprocess.CompletedProcess:
    here = source or Path(__file__).parent
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", str(here), "-p", "no:cacheprovider", *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=here.parent, env=environment)


TWO = ("--case", "permute/mixtral/float32/zipf", "--case", "router/mixtral/float32/degenerate")


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["one process", "xdist"])
def test_the_report_keeps_the_contract(tmp_path: Path, workers: tuple[str, ...]) -> None:
    path = tmp_path / "report.xml"
    done = _suite("--platform", "interpreter", *TWO, *workers, f"--junitxml={path}")
    assert done.returncode == 0, done.stdout
    suite = next(iter(junitparser.JUnitXml.fromfile(str(path))))
    assert suite.name == "tritonmoe.conformance"
    properties = {p.name: p.value for p in suite.properties()}
    assert properties["platform"] == "interpreter"
    assert properties["evidence"] == "interpreted"
    assert properties["profile"] == "smoke"
    assert properties["source.digest"] == source_digest()
    assert properties["corpus.digest"] == corpus.digest()
    cases = list(suite)
    assert [(c.classname, c.name) for c in cases] == [
        (name.split("/")[0], name) for name in sorted(TWO[1::2])
    ]
    for case in cases:
        made = {p.name: p.value for p in xunit2.TestCase.fromelem(case._elem).properties()}
        assert int(made["examples"]) == corpus.SMOKE
        assert len(json.loads(made["sketch"])) == corpus.SMOKE
        assert float(made["error.worst"]) <= 1
        assert {"near_ties", "inputs.digest", "outputs.integer_digest", "error.where"} <= set(made)


def test_a_broken_kernel_fails_its_case_and_the_failure_can_be_replayed(tmp_path: Path) -> None:
    """The combine kernel, in a copy of the tree, takes the weight of the wrong position."""
    root = Path(__file__).parents[1]
    for package in ("tritonmoe", "conformance"):
        _copy(root / package, tmp_path / package)
    kernel = tmp_path / "tritonmoe" / "combine.py"
    right = "topk_weights + token * stride_wt + position"
    assert right in kernel.read_text()
    kernel.write_text(kernel.read_text().replace(right, right.replace("position", "(TOP_K - 1 - position)")))
    path = tmp_path / "report.xml"
    case = "combine/mixtral/float32/balanced"
    done = _suite(
        "--platform", "interpreter", "--case", case, f"--junitxml={path}", source=tmp_path / "conformance"
    )
    assert done.returncode == 1
    (failed,) = next(iter(junitparser.JUnitXml.fromfile(str(path))))
    made = {p.name: p.value for p in xunit2.TestCase.fromelem(failed._elem).properties()}
    smallest = Example.from_json(json.loads(made["failure.example"]))
    assert smallest.tokens * smallest.hidden <= 3 * 16
    assert made["failure.replay"].startswith(
        f"pytest conformance --platform interpreter --profile smoke --case {case}"
    )
    assert "y[" in made["error.where"]
    assert "replay: pytest conformance" in done.stdout
    replayed = _suite(
        *("--platform", "interpreter", "--case", case, "--example", made["failure.example"]),
        source=tmp_path / "conformance",
    )
    assert replayed.returncode == 1


def _copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.suffix in (".py", ".json"):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())


def test_an_example_is_a_value_of_plain_fields() -> None:
    kinds = {f.type for f in dataclasses.fields(Example)}
    assert kinds == {"str", "int", "RoutingTable"} or kinds == {str, int, RoutingTable}


def test_the_judge_needs_every_output() -> None:
    case = case_of("combine/mixtral/float32/zipf")
    example = corpus.examples_of(case, "smoke")[0]
    with pytest.raises(KeyError, match="y"):
        judge(case, example, build(case, example), {}, Heights(16))
