"""Hypothesis on live kernels: the smallest failing example, and fresh examples under soak."""

import json
import shlex
import time
from collections.abc import Callable

import hypothesis
from hypothesis.errors import NoSuchExample

from .matrix import MODELS, Case
from .strategies import Example, examples

SHRINK_SECONDS = 30.0


def smaller(case: Case, failing: Example, fails: Callable[[Example], bool]) -> Example:
    """The smallest failing example that Hypothesis finds in half a minute, at most as large as the
    given one.
    """
    deadline = time.monotonic() + SHRINK_SECONDS
    known: dict[Example, bool] = {}  # so that running out of time never makes a failing example pass

    def still_fails(example: Example) -> bool:
        if example not in known:
            small_enough = _size(example) <= _size(failing) and example.family == failing.family
            if not small_enough or time.monotonic() > deadline:
                return False
            known[example] = fails(example)
        return known[example]

    return _find(case, still_fails, 200) or failing


def explore(case: Case, number: int, fails: Callable[[Example], bool]) -> Example | None:
    """The smallest failing one of so many fresh examples, or None."""
    return _find(case, fails, number)


def replay_command(case: Case, example: Example | None, platform: str, profile: str) -> str:
    """One line that runs the case again: the one example, or all where only all together fail."""
    command = f"pytest conformance --platform {platform} --profile {profile} --case {case.id}"
    return command + (f" --example {shlex.quote(json.dumps(example.to_json()))}" if example else "")


def _size(example: Example) -> int:
    return example.tokens * example.hidden * example.intermediate


def _find(case: Case, condition: Callable[[Example], bool], number: int) -> Example | None:
    settings = hypothesis.settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    try:
        return hypothesis.find(
            examples(case.routing, MODELS[case.model]["top_k"]), condition, settings=settings
        )
    except NoSuchExample:
        return None
