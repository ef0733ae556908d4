"""One example, one case: inputs, kernel, reference, judgement, and the figures that go into the report."""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch

from tritonmoe.launches import Launch, family, shipped

from .expectations import Verdict, judge
from .inputs import build
from .judge import Tally
from .matrix import Case
from .philox import Stream
from .reference import is_skewed
from .stages import Outputs, heights_of, run
from .strategies import Example

SKETCH_VECTORS = 8


@dataclass
class CaseRecord:
    """What a case's examples add up to; `properties` are the report's."""

    case: Case
    examples: int = 0
    near_ties: int = 0
    worst: float = 0.0
    where: str = "every output equal"
    faults: list[str] = field(default_factory=list)
    failed: Example | None = None
    launches: set[str] = field(default_factory=set)
    _tallies: dict[str, Tally] = field(default_factory=dict)
    _sketches: list[dict[str, list[float]]] = field(default_factory=list)
    _inputs: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    _integers: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def properties(self) -> dict[str, str]:
        return {
            "examples": str(self.examples),
            "near_ties": str(self.near_ties),
            "inputs.digest": self._inputs.hexdigest(),
            "outputs.integer_digest": self._integers.hexdigest(),
            "error.worst": repr(self.worst),
            "error.where": self.where,
            "signs.z": repr(max((t.z for t in self._tallies.values()), default=0.0)),
            "noise.ratio": repr(max((t.noise for t in self._tallies.values()), default=0.0)),
            "sketch": json.dumps(self._sketches),
            "launches": " ".join(sorted(self.launches)),
        }

    def add(self, example: Example, launch: Launch, inputs_digest: bytes, verdict: Verdict) -> None:
        judgement = verdict.judgement
        if judgement.worst > self.worst or self.examples == 0:
            self.worst = judgement.worst
            self.where = f"example {self.examples}: {judgement.where}" if judgement.worst > 0 else self.where
        if judgement.faults and self.failed is None:
            self.failed, self.faults = example, list(judgement.faults)
        self.examples += 1
        self.near_ties += verdict.near_ties
        self.launches.add(launch.name)
        self._inputs.update(inputs_digest)
        self._integers.update(verdict.integer_digest())
        self._sketches.append(_sketch(example, verdict))
        for name, tally in judgement.tallies.items():
            self._tallies.setdefault(name, Tally()).add(tally)

    def pooled_faults(self) -> list[str]:
        """The statistical parts over all examples together."""
        tallies = self._tallies.items()
        return [fault for name, tally in tallies for fault in tally.faults(f"{name}, all examples")]


def run_case(case: Case, examples: Iterable[Example], device: torch.device) -> CaseRecord:
    """All examples of a case on the active platform, and the judgement of them together."""
    record = CaseRecord(case)
    for example in examples:
        launch = launch_of(case, example)
        verdict, inputs_digest, used = run_example(case, example, launch, device)
        record.add(example, used, inputs_digest, verdict)
    record.faults += record.pooled_faults()
    return record


def run_example(
    case: Case, example: Example, launch: Launch, device: torch.device
) -> tuple[Verdict, bytes, Launch]:
    """One example through the stage under test, judged; the digest of its inputs, and the configuration that
    did the work: under skewed routing a launch may have another one for that.
    """
    inputs = build(case, example)
    outputs: Outputs = run(case, inputs, example.layout, launch, device)
    verdict = judge(case, example, inputs, outputs.tensors, heights_of(launch))
    if outputs.violations:
        verdict.judgement.faults += outputs.violations
        verdict.judgement.worst, verdict.judgement.where = math.inf, outputs.violations[0]
    ids = outputs.tensors.get("topk_ids", inputs.tensors.get("topk_ids"))
    return verdict, inputs.digest(), _used(launch, ids, inputs.config.experts)


def launch_of(case: Case, example: Example) -> Launch:
    """The configuration of the active platform that the example's rank picks."""
    choices = shipped(case.torch_dtype, family())
    return choices[example.launch % len(choices)][0]


def _used(launch: Launch, ids: torch.Tensor | None, experts: int) -> Launch:
    if launch.skewed is None or ids is None:
        return launch
    served = ids[(ids >= 0) & (ids < experts)].long()
    return launch.skewed if is_skewed(served.bincount(minlength=experts).tolist()) else launch


def _sketch(example: Example, verdict: Verdict) -> dict[str, list[float]]:
    """The output on seeded vectors of signs: exact sums for exact examples, whose bound is 0."""
    if verdict.compared is None:
        return {"v": [], "b": []}
    output, bound = (tensor.double().flatten() for tensor in verdict.compared)
    signs = Stream(example.seed, "sketch").signs((SKETCH_VECTORS, output.numel()))
    allowed = float(bound.sum())
    # The float64 sum itself rounds; without an error bound there is nothing to round.
    allowed += output.numel() * 2.0**-52 * float(output.abs().sum()) if allowed else 0.0
    return {"v": (signs @ output).tolist(), "b": [allowed] * SKETCH_VECTORS}
