"""Verdicts of every kind, for what renders them."""

import json
from pathlib import Path

from reports import Report, assess, compare, read, read_waivers
from reports.verdict import Result

from .build import Draft

LAYER, DOWN = "layer/mixtral/float32/zipf", "down/qwen2_moe/float16/balanced"
OTHER_BITS = "permute/mixtral/float32/zipf"
ATTACK = "<script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(1)>{{ 7 * 7 }}"


def make_results(folder: Path) -> dict[str, Result]:
    """On two reports and on one, by name."""
    waivers = folder / "waivers.toml"

    def readback(draft: Draft, name: str) -> Report:
        return read(draft.write(folder / name))

    toml = json.dumps(ATTACK)
    waivers.write_text(
        f'[[waiver]]\ncases = ["{LAYER}"]\narchitectures = ["gfx942", {toml}]\nreason = {toml}\n'
        f'owner = {toml}\nissue = "https://example.org/?a=1&b=2"\nexpires = 2999-01-01\n'
    )
    cuda, other = readback(Draft("cuda"), "cuda.xml"), readback(Draft("gfx942"), "other.xml")
    broken = Draft("gfx942").fail(LAYER, worst="nan").without(DOWN)
    broken.put(OTHER_BITS, outputs__integer_digest="0" * 64)
    broken_report = readback(broken, "broken.xml")
    attack = readback(hostile("interpreter"), "<b>attack.xml")
    return {
        "parity": compare(cuda, other),
        "divergent": compare(cuda, broken_report),
        "waived": compare(cuda, readback(Draft("gfx942").fail(LAYER), "w.xml"), read_waivers(waivers)),
        "incomplete": compare(cuda, readback(Draft("gfx942").claim(corpus__digest="0" * 64), "i.xml")),
        "empty": compare(cuda, readback(_without_cases(), "e.xml")),
        "attack": compare(attack, cuda, read_waivers(waivers)),
        "one": assess(other),
        "one broken": assess(broken_report),
        "one attack": assess(attack, read_waivers(waivers)),
    }


def hostile(platform: str) -> Draft:
    """A report that is sound and has an attack wherever a string is free."""
    free = ("device.name", "device.arch", "driver", "torch", "triton", "hypothesis", "python")
    draft = Draft(platform).claim(**{name.replace(".", "__"): ATTACK for name in free})
    draft.fail(LAYER, ATTACK).put(LAYER, error__where=ATTACK, failure__example=ATTACK, failure__replay=ATTACK)
    draft.put(DOWN, _status="skipped", _message=ATTACK)
    draft.put("down/mixtral/float16/zipf", error__where=ATTACK)
    draft.checks[ATTACK, ATTACK] = {"!status": "failed", "!message": ATTACK}
    return draft


def _without_cases() -> Draft:
    draft = Draft("gfx942")
    draft.cases.clear()
    draft.checks.clear()
    return draft
