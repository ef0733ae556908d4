"""What a run of the suite executed, as it wrote with `--coverage`: kernel statements, configurations,
branches.

The form is that of the suite's power/coverage.py: `platform`, `profile`, `source.digest`; `kernels` (null
where statements cannot be seen, as on hardware) with `statements`, `executed` and `unexecuted` parts, each
with the reviewed reason `why`; `configurations` with those `shipped` and `unexecuted`; `host` with `branches`
and `taken`. The file is untrusted.
"""

import os
from dataclasses import dataclass

from .jsonfile import Fields, load

MAX_BYTES = 8 * 2**20
MAX_ENTRIES = 5_000


@dataclass(frozen=True)
class Part:
    """Statements that did not run, and why that is right; "" where nobody has said."""

    function: str
    source: str
    statements: int
    compiled: bool
    why: str


@dataclass(frozen=True)
class Coverage:
    """One platform's coverage, read and found sound; `statements` is None where kernels cannot be watched."""

    path: str
    source_digest: str
    platform: str
    profile: str
    statements: int | None
    executed: int
    unexecuted: tuple[Part, ...]
    family: str
    shipped: tuple[str, ...]
    unexecuted_configurations: tuple[str, ...]
    branches: int
    taken: int

    @property
    def unexplained(self) -> tuple[Part, ...]:
        return tuple(part for part in self.unexecuted if not part.why)


def read_coverage(path: str | os.PathLike[str]) -> Coverage:
    """The coverage in this file. Raises ReportError, whose message is one line, for anything else."""
    run = load(path, MAX_BYTES)
    configurations, host = run.inner("configurations"), run.inner("host")
    kernels = run.inner("kernels") if run.has("kernels") else None
    return Coverage(
        path=run.name,
        source_digest=run.digest("source.digest"),
        platform=run.text("platform", 60),
        profile=run.text("profile", 60),
        statements=kernels.count("statements") if kernels else None,
        executed=_part_of(kernels, "executed", "statements") if kernels else 0,
        unexecuted=tuple(map(_part, kernels.each("unexecuted", MAX_ENTRIES))) if kernels else (),
        family=configurations.text("family", 60),
        shipped=configurations.texts("shipped", MAX_ENTRIES),
        unexecuted_configurations=configurations.texts("unexecuted", MAX_ENTRIES),
        branches=host.count("branches"),
        taken=_part_of(host, "taken", "branches"),
    )


def _part_of(fields: Fields, part: str, whole: str) -> int:
    if fields.count(part) > fields.count(whole):
        fields.refuse(part, f"{fields.count(part):,}", f"at most the {fields.count(whole):,} {whole}")
    return fields.count(part)


def _part(entry: Fields) -> Part:
    return Part(
        function=entry.text("function"),
        source=entry.text("source", 10_000),
        statements=entry.count("statements"),
        compiled=entry.flag("compiled"),
        why=entry.text("why", 10_000) if entry.has("why") else "",
    )
