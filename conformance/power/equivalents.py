"""Mutants that no test can see, for they change nothing that was promised: a reviewed list with reasons."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from .trial import Outcome

PATH = Path(__file__).with_name("equivalents.json")


def read(path: Path = PATH) -> dict[str, str]:
    """Why, by the mutant's id. Raises ValueError for an entry without a reason, or twice in the list."""
    found: dict[str, str] = {}
    for entry in json.loads(path.read_text()):
        name, why = entry.get("id", ""), entry.get("why", "").strip()
        if not name or not why:
            raise ValueError(f"{path}: {entry} needs an id and why; write down the argument, or remove it")
        if name in found:
            raise ValueError(f"{path}: {name} is listed twice; remove one")
        found[name] = why
    return found


def problems(listed: Mapping[str, str], known: Collection[str], outcomes: Mapping[str, Outcome]) -> list[str]:
    """What is wrong with the list: entries of no mutant, and of mutants that were killed after all."""
    unknown = [
        f"{each} is no mutant any more: remove it from {PATH.name}" for each in listed if each not in known
    ]
    killed = [
        f"{each} is listed as equivalent, but {outcomes[each].by} sees it: {outcomes[each].message}"
        for each in listed
        if each in outcomes and outcomes[each].killed
    ]
    return unknown + killed
