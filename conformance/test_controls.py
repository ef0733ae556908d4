"""The judgement of every case can fail: it accepts what a right kernel gives and refuses five kinds of wrong
ones.
"""

from conformance import corpus
from conformance.controls import SPOILT, right_outputs, wrong_outputs
from conformance.expectations import judge
from conformance.inputs import build
from conformance.matrix import Case
from conformance.reference import Heights

HEIGHTS = Heights(16)


def test_judgement_accepts_right_outputs_and_refuses_wrong_ones(case: Case) -> None:
    refused = set()
    for example in corpus.examples_of(case, "smoke"):
        inputs = build(case, example)
        right = right_outputs(case, example, inputs, HEIGHTS)
        assert judge(case, example, inputs, right, HEIGHTS).judgement.faults == [], example
        for name, outputs in wrong_outputs(case, example, inputs, right).items():
            assert judge(case, example, inputs, outputs, HEIGHTS).judgement.faults, (
                f"{name} passed: {example}"
            )
            refused.add(name)
    assert refused == set(SPOILT)
