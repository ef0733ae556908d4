"""A certificate in a few lines for people, as Markdown for the summary of a CI run, and as JSON."""

import json
from typing import Any

from ..markdown import safe
from ..verdict import WAIVED, total_examples
from ..wording import count, printable
from .evidence import Certificate
from .refused import short
from .statement import SIDES

FORMAT, VERSION = "tritonmoe.certificate", 1


def text(word: str, certificate: Certificate) -> str:
    """Such as `VERIFIED PARITY: ...` and what that rests on, one fact a line."""
    head, facts = _facts(word, certificate)
    lines = [f"{word} {head}", *(f"  {label:9} {fact}" for label, fact in facts)]
    return "\n".join(lines) + "\n"


def markdown(word: str, certificate: Certificate) -> str:
    """The same in GitHub-flavoured Markdown; strings from a report appear as text."""
    head, facts = _facts(word, certificate)
    rows = [f"| {label} | {safe(fact)} |" for label, fact in facts]
    return "\n".join([f"## {word} {safe(head)}", "", "| | |", "| --- | --- |", *rows]) + "\n"


def machine(outcome: str, certificate: Certificate) -> str:
    """The same as a JSON object, with the statement in it. Keys are never renamed or removed; some may
    come.
    """
    told: dict[str, Any] = {
        "verdict": certificate.parity.verdict,
        "result": certificate.result,
        "headline": certificate.parity.headline,
        "key_id": certificate.key_id,
        "made": certificate.claims.made.isoformat(),
        "sides": [
            {
                "platform": report.environment.platform,
                "evidence": report.environment.evidence,
                "sha256": report.digest,
            }
            for report in certificate.parity.reports
        ],
        "source_digest": certificate.parity.reports[0].environment.source_digest,
        "waived": [row.id for row in certificate.parity.outcomes(WAIVED)],
        "checked": list(certificate.checked),
        "statement": json.loads(certificate.payload),
    }
    return _object(outcome, told)


def machine_refusal(outcome: str, reason: str) -> str:
    """A refusal, or what could not be read, as a JSON object."""
    return _object(outcome, {"reason": reason})


def _object(outcome: str, told: dict[str, Any]) -> str:
    return json.dumps({"format": FORMAT, "version": VERSION, "outcome": outcome, **told}, indent=2) + "\n"


def _facts(word: str, certificate: Certificate) -> tuple[str, list[tuple[str, str]]]:
    parity, claims = certificate.parity, certificate.claims
    rests = next(sentence for sentence in parity.basis if "farthest" in sentence)
    facts = []
    for side, report in zip(SIDES, parity.reports, strict=True):
        environment = report.environment
        device = f"{printable(environment.device_name, 80)} ({printable(environment.device_arch, 60)})"
        facts.append(
            (side, f"{environment.platform}, {environment.evidence}: {device}, report {short(report.digest)}")
        )
    profile = parity.reports[0].environment.profile
    few = ", a few a case" if profile == "smoke" else ""
    facts.append(("evidence", f"{parity.basis[-1]}{_same_platform(certificate)}"))
    facts.append(
        (
            "extent",
            f"{count(total_examples(parity.reports[0]), 'example')} a side, profile {profile}{few}. {rests}",
        )
    )
    facts.append(("sources", _sources(word, certificate)))
    if parity.waivers:
        until = min(waiver.expires for waiver in parity.waivers)
        excused = f"{count(len(parity.outcomes(WAIVED)), 'case')}, until {until}"
        facts.append(("waived", excused + _unseen(word, certificate, "the waivers file")))
    if claims.power:
        facts.append(("power", _power(word, certificate)))
    facts.append(
        ("signed", f"with key {short(certificate.key_id)}, made {claims.made:%Y-%m-%d %H:%M:%S} UTC")
    )
    return f"{parity.verdict}: {parity.headline}", facts


def _same_platform(certificate: Certificate) -> str:
    ours, theirs = (report.environment for report in certificate.parity.reports)
    same = (ours.platform, ours.device_arch) == (theirs.platform, theirs.device_arch)
    return " Both are of one platform: this is repeatability, not portability." if same else ""


def _sources(word: str, certificate: Certificate) -> str:
    environments = [report.environment for report in certificate.parity.reports]
    commits = sorted({_commit(each.commit) for each in environments})
    named = f"{short(environments[0].source_digest)}, commit {' and '.join(commits)}"
    wheel = certificate.claims.wheel
    named += f", wheel {wheel.name}{_unseen(word, certificate, 'the wheel')}" if wheel else ""
    named += f"; the same as {', '.join(certificate.checked)}" if certificate.checked else ""
    alone = word == "VERIFIED" and not any("sources" in each for each in certificate.checked)
    return f"{named}; compared with no checkout" if alone else named


def _commit(commit: str) -> str:
    name, plus, dirty = commit.partition("+")
    return f"{name[:12]}{plus}{dirty}"


def _power(word: str, certificate: Certificate) -> str:
    power = certificate.claims.power
    counts = [power.counts[kind] for kind in power.counts]
    killed, faults, equivalent = (
        sum(each[name] for each in counts) for name in ("killed", "faults", "equivalent")
    )
    return (
        f"the suite saw {killed} of {count(faults, 'fault')} put into the layer"
        + (f"; {equivalent} change nothing" if equivalent else "")
        + _unseen(word, certificate, "the power file")
    )


def _unseen(word: str, certificate: Certificate, what: str) -> str:
    """Marks what verifying had to take from the signer."""
    taken = word == "VERIFIED" and what not in certificate.checked
    return " (the signer's word: the file was not given)" if taken else ""
