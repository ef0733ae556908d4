"""The verdict as JSON, for programs. Within a version keys are never renamed or removed; some may come."""

import json
import math
from dataclasses import asdict
from typing import Any

from .model import WORTH, Case, Report
from .verdict import Result, Row
from .waivers import Waiver

FORMAT, VERSION = "tritonmoe.verdict", 1


def render(result: Result) -> str:
    """A JSON object (see `as_dict`), indented, with a newline at its end."""
    return json.dumps(as_dict(result), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_dict(result: Result) -> dict[str, Any]:
    """Only JSON's own types. A number that is not finite is the string "inf", "-inf" or "nan"."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "verdict": result.verdict,
        "exit_code": result.exit_code,
        "headline": result.headline,
        "basis": list(result.basis),
        "reasons": list(result.reasons),
        "notes": list(result.notes),
        "sides": [_side(report, label) for report, label in zip(result.reports, result.labels, strict=True)],
        "cases": [_row(row) for row in result.rows],
        "checks": [
            {"name": check.name, "statuses": list(check.statuses), "message": check.message}
            for check in result.checks
        ],
        "waivers": [_waiver(waiver) for waiver in result.waivers],
    }


def _side(report: Report, label: str) -> dict[str, Any]:
    environment = asdict(report.environment)
    return {
        "label": label,
        "path": report.path,
        "sha256": report.digest,
        "evidence_worth": WORTH[report.environment.evidence],
        "environment": environment,
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "outcome": row.outcome,
        "reasons": list(row.reasons),
        "distance": json_number(row.distance),
        "farthest_example": row.farthest_example,
        "integers_equal": row.integers_equal,
        "near_ties": row.near_ties,
        "sides": [_case(case) for case in row.cases],
    }


def _case(case: Case | None) -> dict[str, Any] | None:
    if case is None:
        return None
    measured = case.measured
    return {
        "status": case.status,
        "message": case.message,
        "examples": measured.examples if measured else None,
        "near_ties": measured.near_ties if measured else None,
        "error_worst": json_number(measured.error_worst) if measured else None,
        "error_where": measured.error_where if measured else None,
        "signs_z": json_number(measured.signs_z) if measured else None,
        "noise": json_number(measured.noise) if measured else None,
        "failing_example": case.failing_example or None,
        "replay": case.replay or None,
    }


def _waiver(waiver: Waiver) -> dict[str, Any]:
    return {**asdict(waiver), "expires": waiver.expires.isoformat()}


def json_number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)
