"""The 162 cases."""

import json

import pytest
import torch

from conformance import corpus, search
from conformance.harness import CaseRecord, launch_of, run_case, run_example
from conformance.junit import CASE
from conformance.matrix import Case
from conformance.strategies import Example


def test_case(
    case: Case, device: torch.device, platform: str, profile: str, request: pytest.FixtureRequest
) -> None:
    only = request.config.getoption("--example")
    chosen = [Example.from_json(json.loads(only))] if only else corpus.examples_of(case, profile)
    record = run_case(case, chosen, device)
    fresh = 0
    if profile == "soak" and not record.faults:
        fresh = _soak(case, device, record, request.config.getoption("--soak-examples"))

    properties = {CASE: case.id, **record.properties()}
    if profile == "soak":
        properties["soak.examples"] = str(fresh)
    smallest = record.failed
    if smallest and not only:
        smallest = search.smaller(case, smallest, lambda example: bool(_faults(case, example, device)))
    if record.faults:
        properties["failure.replay"] = search.replay_command(case, smallest, platform, profile)
        if smallest:
            properties["failure.example"] = json.dumps(smallest.to_json())
    request.node.user_properties.extend(properties.items())
    if record.faults:
        pytest.fail(_explanation(case, record, smallest, properties, device), pytrace=False)


def _faults(case: Case, example: Example, device: torch.device) -> list[str]:
    return run_example(case, example, launch_of(case, example), device)[0].judgement.faults


def _soak(case: Case, device: torch.device, record: CaseRecord, number: int) -> int:
    """Fresh examples after the frozen ones, and how many were run; one that fails joins the corpus."""
    run = 0

    def fails(example: Example) -> bool:
        nonlocal run
        run += 1
        return bool(_faults(case, example, device))

    if found := search.explore(case, number, fails):
        corpus.remember(case, found)
        record.failed, record.faults = found, _faults(case, found, device)
    return run


def _explanation(
    case: Case, record: CaseRecord, smallest: Example | None, properties: dict[str, str], device: torch.device
) -> str:
    lines = [f"{case.id}: {record.faults[0]}"]
    lines += [f"  also: {fault}" for fault in record.faults[1:6]]
    lines.append(f"  worst: {record.where} (error/bound {record.worst:.4g})")
    if smallest:
        lines.append(f"  smallest example: {json.dumps(smallest.to_json())}")
        lines += [f"  it gives: {fault}" for fault in _faults(case, smallest, device)[:3]]
    lines.append(f"  replay: {properties['failure.replay']}")
    return "\n".join(lines)
