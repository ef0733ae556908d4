"""The statement: in-toto Statement v1 (in-toto/attestation, spec/v1/statement.md) with the predicate Test
Result v0.1 (spec/predicates/test-result.md).

Subjects are what was tested: the sources by their digest, and a wheel of them. The configuration is what it
was tested with and on, as resource descriptors (spec/v1/resource_descriptor.md): the corpus, both reports,
both environments, the list of required cases. Figures that the predicate has no field for are annotations of
the descriptor that they are about.

`build` makes the whole from a verdict and a few claims; `claims_of` takes the claims back out. A verifier
builds it again: what is left over, missing or different does not follow from the reports.
"""

import base64
import datetime
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..matrix import MATRIX_VERSION, RANK, REQUIRED
from ..model import PASSED, SKIPPED, Environment, Report
from ..parity import Parity
from ..verdict import AGREES, WAIVED, total_examples
from . import evidence
from .envelope import PAYLOAD_TYPE
from .evidence import COUNTS, KINDS, Claims, Power, Wheel
from .jsontext import canonical
from .refused import Refused, shown

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
SIDES = ("left", "right")
SOURCE = "tritonmoe-sources"
TIME = "%Y-%m-%dT%H:%M:%SZ"
_URL = re.compile(r"https?://[!#-;=?-\[\]-~]{1,2000}")  # ASCII without space, quotes and angle brackets
_SHA = re.compile(r"[0-9a-f]{64}")

__all__ = ["PAYLOAD_TYPE", "PREDICATE_TYPE", "STATEMENT_TYPE", "build", "claims_of", "environment_of"]


def build(parity: Parity, claims: Claims) -> dict[str, Any]:
    """The statement on this PARITY. The same verdict and claims give the same statement."""
    environment = parity.reports[0].environment
    subject = [_resource(SOURCE, environment.source_digest)]
    if claims.wheel:
        subject.append(_resource(claims.wheel.name, claims.wheel.sha256))
    predicate = {
        "result": evidence.result_of(parity),
        "configuration": _configuration(parity, claims),
        "passedTests": _ids(parity, AGREES),
        "warnedTests": _ids(parity, WAIVED),
        "failedTests": [],
    }
    if claims.url:
        predicate["url"] = claims.url
    return {
        "_type": STATEMENT_TYPE,
        "subject": subject,
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }


def environment_of(environment: Environment) -> dict[str, str]:
    """The environment as the contract names its properties."""
    dotted = {"contract", "matrix", "device", "source", "corpus"}
    return {
        name.replace("_", ".", 1) if name.split("_")[0] in dotted else name: value
        for name, value in asdict(environment).items()
    }


def _configuration(parity: Parity, claims: Claims) -> list[dict[str, Any]]:
    environment = parity.reports[0].environment
    made = [
        _resource("corpus.json", environment.corpus_digest, "application/json", profile=environment.profile)
    ]
    for side, report in zip(SIDES, parity.reports, strict=True):
        made.append(_resource(f"{side}.xml", report.digest, "application/xml", **_counts(report)))
    for side, report in zip(SIDES, parity.reports, strict=True):
        told = environment_of(report.environment)
        made.append(_resource(f"{side}.environment", evidence.sha256(canonical(told)), **told))
    made.append(_matrix(parity, claims.made))
    if claims.waivers is not None:
        made.append(
            _resource("waivers.toml", evidence.sha256(claims.waivers), "application/toml")
            | {"content": base64.b64encode(claims.waivers).decode()}
        )
    if claims.power:
        made.append(_resource("power.json", claims.power.sha256, "application/json", **claims.power.counts))
    return made


def _matrix(parity: Parity, made: datetime.datetime) -> dict[str, Any]:
    """The list of required cases, and what became of it."""
    agreeing = sorted(parity.outcomes(AGREES), key=lambda row: RANK[row.id])
    apart = max(agreeing, key=lambda row: row.distance or 0.0)
    worst = max(agreeing, key=lambda row: row.error_worst or 0.0)
    cases = [case for row in parity.rows for case in row.cases]
    return _resource(
        "matrix",
        evidence.sha256("".join(f"{case_id}\n" for case_id in REQUIRED).encode()),
        "text/plain",
        version=MATRIX_VERSION,
        verdict=parity.verdict,
        made=made.strftime(TIME),
        required=len(REQUIRED),
        passed=len(agreeing),
        waived=len(parity.outcomes(WAIVED)),
        skipped=sum(case is not None and case.status == SKIPPED for case in cases),
        missing=sum(case is None for case in cases),
        nearTies=sum(row.near_ties for row in parity.rows),
        examples=total_examples(parity.reports[0]),
        farthestDistance=apart.distance or 0.0,
        farthestCase=apart.id,
        largestError=worst.error_worst or 0.0,
        largestErrorCase=worst.id,
    )


def _counts(report: Report) -> dict[str, Any]:
    statuses = [check.status for check in report.checks]
    return {
        "platform": report.environment.platform,
        "evidence": report.environment.evidence,
        "cases": len(report.cases),
        "casesPassed": sum(case.status == PASSED for case in report.cases.values()),
        "checks": len(statuses),
        "checksPassed": statuses.count(PASSED),
        "checksSkipped": statuses.count(SKIPPED),
    }


def _ids(parity: Parity, outcome: str) -> list[str]:
    return sorted((row.id for row in parity.outcomes(outcome)), key=RANK.__getitem__)


def _resource(name: str, sha256: str, media_type: str = "", **annotations: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "digest": {"sha256": sha256}}
    if media_type:
        made["mediaType"] = media_type
    if annotations:
        made["annotations"] = annotations
    return made


def claims_of(statement: Any) -> Claims:
    """What this statement claims besides what the reports say. Raises Refused where it is no statement of
    this kind.
    """
    if not isinstance(statement, dict):
        raise Refused(f"the statement is {shown(statement)}; expected an object")
    for field, expected in (("_type", STATEMENT_TYPE), ("predicateType", PREDICATE_TYPE)):
        if statement.get(field) != expected:
            raise Refused(f"{field} is {shown(statement.get(field))}; expected {expected!r}")
    predicate, subject = statement.get("predicate"), statement.get("subject")
    if not isinstance(predicate, dict):
        raise Refused(f"predicate is {shown(predicate)}; expected an object")
    resources = _by_name(predicate.get("configuration"), "predicate.configuration")
    url = predicate.get("url")
    if url is not None and not is_url(url):
        raise Refused(f"predicate.url is {shown(url)}; expected a link, https://...")
    return Claims(
        made=_made(resources),
        url=url,
        wheel=_wheel(_by_name(subject, "subject")),
        waivers=_waivers(resources.get("waivers.toml")),
        power=_power(resources.get("power.json")),
    )


def digest_in(statement: dict[str, Any], name: str) -> str:
    """The SHA-256 that a statement with sound claims gives for a resource of its configuration."""
    resources = _by_name(statement["predicate"]["configuration"], "predicate.configuration")
    if name not in resources:
        raise Refused(f"predicate.configuration has no resource {name!r}")
    return _digest(resources[name], name)


def is_url(given: Any) -> bool:
    return isinstance(given, str) and _URL.fullmatch(given) is not None


def parse_time(text: Any) -> datetime.datetime | None:
    """A time as in a statement, 2030-01-31T12:00:00Z; None for anything else."""
    try:
        found = datetime.datetime.strptime(text, TIME).replace(tzinfo=datetime.timezone.utc)
    except (TypeError, ValueError):
        return None
    return found if found.strftime(TIME) == text else None


def _by_name(given: Any, what: str) -> dict[str, dict[str, Any]]:
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise Refused(f"{what} is {shown(given)}; expected a list of resource descriptors")
    names = [each.get("name") for each in given]
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or name in seen:
            raise Refused(f"{what} has a resource called {shown(name)}; expected names, each of them once")
        seen.add(name)
    return dict(zip(names, given, strict=True))


def _digest(resource: dict[str, Any], name: str) -> str:
    digest = resource.get("digest")
    found = digest.get("sha256") if isinstance(digest, dict) else None
    if not isinstance(found, str) or not _SHA.fullmatch(found):
        raise Refused(f"the digest of {name} is {shown(found)}; expected a SHA-256")
    return found


def _annotations(resource: dict[str, Any] | None) -> dict[str, Any]:
    found = (resource or {}).get("annotations")
    return found if isinstance(found, dict) else {}


def _made(resources: dict[str, dict[str, Any]]) -> datetime.datetime:
    text = _annotations(resources.get("matrix")).get("made")
    made = parse_time(text)
    if made is None:
        raise Refused(f"the time it was made is {shown(text)}; expected one as 2030-01-31T12:00:00Z")
    return made


def _wheel(subjects: dict[str, dict[str, Any]]) -> Wheel | None:
    others: Sequence[str] = [name for name in subjects if name != SOURCE]
    if SOURCE not in subjects or len(others) > 1:
        raise Refused(f"subject names {shown(', '.join(subjects))}; expected {SOURCE} and at most one wheel")
    if not others:
        return None
    if not evidence.is_wheel_name(others[0]):
        raise Refused(f"subject {shown(others[0])} is neither {SOURCE} nor a wheel of tritonmoe")
    return Wheel(others[0], _digest(subjects[others[0]], "the wheel"))


def _waivers(resource: dict[str, Any] | None) -> bytes | None:
    if resource is None:
        return None
    content = resource.get("content")
    try:
        return base64.b64decode(content, validate=True)
    except (TypeError, ValueError):
        raise Refused(f"the content of waivers.toml is {shown(content)}; expected base64") from None


def _power(resource: dict[str, Any] | None) -> Power | None:
    if resource is None:
        return None
    found = _annotations(resource)
    counts: dict[str, dict[str, int]] = {}
    for kind in KINDS:
        given = found.get(kind)
        values = [given.get(name) for name in COUNTS] if isinstance(given, dict) else []
        if not values or any(type(value) is not int or value < 0 for value in values):
            raise Refused(
                f"the counts of {kind} in power.json are {shown(given)}; expected {', '.join(COUNTS)}"
            )
        if values[0] != sum(values[1:]):
            raise Refused(f"the counts of {kind} in power.json do not add up to {values[0]}")
        counts[kind] = dict(zip(COUNTS, values, strict=True))
    return Power(_digest(resource, "power.json"), counts)
