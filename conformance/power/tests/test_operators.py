"""Operators make exactly the mutants that they should, and leave alone what cannot matter."""

import ast
from textwrap import dedent, indent

import pytest

from conformance.power.mutants import mutants_of
from conformance.power.operators import OPERATORS
from conformance.power.syntax import Source

KERNEL = "import triton.language as tl\n\n\n@triton.jit\ndef kernel({parameters}):\n{body}"
CASES = [  # operator, parameters, the line of a kernel, what it becomes
    ("comparison", "m, n", "mask = m < n", ["mask = m <= n"]),
    ("comparison", "m, n", "mask = m == n", ["mask = m != n"]),
    ("arithmetic", "m, n", "k = m // n", ["k = m * n"]),
    ("dropped term", "m, n", "k = m + n", ["k = m", "k = n"]),
    ("dropped term", "m", "k = m + tl.zeros((4,), tl.int32)", []),
    ("arithmetic", "m, n", "k = m * 0 + n", []),
    ("dropped term", "p, n", "k = tl.load(p + n)", ["k = tl.load(p)"]),
    ("widened mask", "m, n", "k = (m < 1) & (n < 2)", ["k = m < 1", "k = n < 2"]),
    ("dropped mask", "p, m", "k = tl.load(p, mask=m, other=0.0)", ["k = tl.load(p)"]),
    ("changed other", "p, m", "k = tl.load(p, mask=m, other=-1)", ["k = tl.load(p, mask=m, other=0)"]),
    ("changed other", "p, m", "k = tl.load(p, mask=m, other=0.0)", ['other=float("nan")']),
    ("constant", "m", "k = m[3]", ["k = m[4]", "k = m[2]"]),
    ("constant", "m", "k = m + 1e-20", ["k = m + 0.0", "k = m + 0.001"]),
    ("constant", "m", "k = tl.arange(0, 16)", []),
    ("constant", "m", "launch(kernel, (m, 1, 1))", []),
    ("axis", "m", "k = tl.program_id(0)", ["k = tl.program_id(1)"]),
    ("axis", "m", "k = tl.sum(m, axis=1)", ["k = tl.sum(m, axis=0)"]),
    ("axis", "m", "k = tl.sum(m, axis=0)", []),
    ("stride", "m, stride_xt, stride_xh", "k = m * stride_xt", ["k = m * stride_xh"]),
    ("stride", "m, stride_xt, stride_wh", "k = m * stride_xt", []),
    ("loop", "n", "for k in range(n): tl.store(k)", ["(n - 1)", "(n + 1)"]),
    ("loop", "n", "for k in range(0, n, 8): tl.store(k)", ["(0 + 8), n", "(n - 8)", "(n + 8)"]),
    ("cast", "m", "k = m.to(tl.int64)", ["k = m.to(tl.int32)"]),
    ("cast", "m", "k = m.to(tl.float32)", ["k = m.to(tl.bfloat16).to(tl.float32)"]),
    ("cast", "m, p", "k = m.to(p.dtype)", ["k = m"]),
    ("cast", "m", "k = tl.cast(m, tl.int64)", ["k = tl.cast(m, tl.int32)"]),
    ("rounding", "a, b, c", "c = tl.dot(a, b, c)", ["bfloat16).to(tl.float32)", "float16).to(tl.float32)"]),
    ("rounding", "a, p", "c = a.to(p.dtype.element_ty)", ["a.to(tl.bfloat16).to(p", "& -65536"]),
    ("precision", "a, b", 'c = tl.dot(a, b, input_precision="ieee")', ['input_precision="tf32"']),
    ("call", "m, n", "k = tl.minimum(m, n)", ["k = tl.maximum(m, n)", "k = m"]),
    ("call", "m, n", "k = tl.cdiv(m, n)", ["k = (m // n)"]),
    ("call", "m, n", "k = tl.where(m, n, 0)", ["k = n", "k = 0"]),
    ("ties", "m, n", "k = tl.min(tl.where(m, n, 9), axis=1)", ["k = tl.max(tl.where(m, n, -1), axis=1)"]),
    ("condition", "M: tl.constexpr", "if M: return", ["if (not M): return"]),
    ("sign", "m", "k = tl.exp(-m)", ["k = tl.exp(m)"]),
    ("statement", "m, n", "m += n", ["pass"]),
    ("statement", "m, n", "k = m", []),
    ("name", "gate, up", "k = gate", ["k = up"]),
    ("weight", "weight, m", "k = weight * m", ["(weight * weight) * m", "(weight * 0 + 1) * m"]),
    ("stale index", "p, tile", "k = tl.load(p + tile)", ["k = tl.load(p + tl.maximum(tile - 1, 0))"]),
]


@pytest.mark.parametrize(("operator", "parameters", "line", "expected"), CASES)
def test_an_operator_makes_its_mutants(
    operator: str, parameters: str, line: str, expected: list[str]
) -> None:
    made = [each for each in of_kernel(line, parameters) if each.operator == operator]
    assert len(made) == len(expected), [each.diff for each in made]
    for mutant, wanted in zip(made, expected, strict=True):
        got = mutant.text.splitlines()[5]
        assert wanted in got or ast.dump(ast.parse(wanted.strip())) == ast.dump(ast.parse(got.strip()))


@pytest.mark.parametrize(
    "line",
    [
        '"""m < n"""',
        "raise ValueError(m < n)",
        "k = call[grid](GROUP_M=m * 8, FLATTEN=not n)",
    ],
    ids=["a docstring", "an error's message", "a choice of speed alone"],
)
def test_what_cannot_matter_is_left_alone(line: str) -> None:
    made = [each for each in of_kernel(line, "m, n") if each.operator not in ("statement",)]
    assert [each.diff for each in made] == []


def test_annotations_defaults_and_decorators_are_left_alone() -> None:
    text = dedent("""
        @triton.jit(do_not_specialize=["m" + "n"])
        def kernel(m: 1 + 1, n: tl.constexpr = 3 + 4):
            k: 5 + 6
        """)
    assert list(mutants_of(Source("some.py", text))) == []


def test_host_functions_are_mutated_only_where_asked() -> None:
    source = Source("some.py", "def host(tokens):\n    return tokens < 3\n")
    assert {each.operator for each in mutants_of(source, host=True)} == {"comparison", "constant"}
    assert list(mutants_of(source, host=False)) == []


def test_none_in_a_key_and_its_opposite_tell_the_same_calls_apart() -> None:
    lines = ["seen = calls(x, also=(x, plan is None))", "also = x, plan is None", "return plan is None"]
    source = Source("some.py", "def host(x, plan):\n" + "".join(f"    {line}\n" for line in lines))
    assert [each.first for each in mutants_of(source) if each.operator == "comparison"] == [4]


def test_lines_keep_their_numbers() -> None:
    text = "def host(a, b):\n    return (a +\n        b)\n\n\ndef after():\n    pass\n"
    for mutant in mutants_of(Source("some.py", text)):
        assert ast.parse(mutant.text).body[-1].lineno == 6, mutant.diff


def test_every_operator_is_shown_here() -> None:
    host_only = {"dtype", "swapped arguments"}
    assert {case[0] for case in CASES} | host_only == set(OPERATORS)


def of_kernel(line: str, parameters: str) -> list:
    text = KERNEL.format(parameters=parameters, body=indent(line, "    ") + "\n")
    return list(mutants_of(Source("some.py", text)))
