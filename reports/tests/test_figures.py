"""What the texts say of speed and power is what the evidence holds."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EVIDENCE = ROOT / "reports" / "evidence"
SPEED, README = ((ROOT / name).read_text() for name in ("tritonmoe/SPEED.md", "README.md"))
MODELS = ["Mixtral-8x7B", "Qwen2-57B-A14B", "DeepSeek-V3"]
PEERS = ("vllm", "triton_kernels", "grouped_mm")


def measured(card: str) -> dict[tuple[str, int, float], dict[str, float]]:
    """By model, tokens and skew: milliseconds of the floor, of ours and of the peers."""
    kept = json.loads((EVIDENCE / f"speed-{card}.json").read_text())
    if isinstance(kept, list):  # as the older card's figures were written
        names = dict(floor="floor", ours="ours", vllm="vllm", triton_kernels="tkern", grouped_mm="grouped")
        times = [{name: row[f"{short}_ms"] for name, short in names.items()} for row in kept]
    else:
        kept = kept["rows"]
        times = [{"floor": row["floor"], **row["ms"]} for row in kept]
    keys = [(row["model"], row["tokens"], row["skew"]) for row in kept]
    return dict(zip(keys, times, strict=True))


def cells(text: str, width: int) -> list[list[str]]:
    """The rows of all tables of so many columns that are about a model."""
    rows = map(split, text.splitlines())
    return [row for row in rows if len(row) == width and row[0] in MODELS]


def split(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def key(model: str, tokens: str) -> tuple[str, int, float]:
    """Of "2048, Zipf 2.0", "1 token" or "512"."""
    number, _, skew = tokens.partition(", Zipf ")
    return model.lower(), int(number.split()[0]), float(skew or 0)


@pytest.mark.parametrize("card", ["h100", "h200"])
def test_the_table_of_a_card_is_the_run_on_record(card: str) -> None:
    earlier, later = SPEED.split("## On an H200")
    text = later if card == "h200" else earlier
    table = {key(*row[:2]): [float(cell) for cell in row[2:]] for row in cells(text, 9)}
    found = measured(card)
    assert list(table) == list(found)
    for name, said in table.items():
        times = [found[name][each] for each in ("floor", "ours", *PEERS)]
        ratios = [times[0] / times[1], min(times[2:]) / times[1]]
        assert said[:5] == pytest.approx(times, abs=0.00056), name  # the older card's were rounded before
        assert said[5:] == pytest.approx(ratios, abs=0.0056), name


def test_the_readme_has_our_time_and_the_best_peers() -> None:
    [heads] = [line for line in README.splitlines() if line.startswith("| | 1 token")]
    sizes, rows = split(heads)[1:], measured("h200")
    table = cells(README, 1 + len(sizes))
    assert [row[0] for row in table] == MODELS
    for model, *said in table:
        for size, cell in zip(sizes, said, strict=True):
            found = rows.get(key(model, size))
            times = found and (found["ours"], min(found[peer] for peer in PEERS))
            assert cell == ("{:.3f} ({:.3f})".format(*times) if times else ""), (model, size)


def test_power_is_what_the_run_on_record_found() -> None:
    found = json.loads((EVIDENCE / "power.json").read_text())["summary"]["operators"]
    pattern = r"of ([\d,]+) faults put into.*the suite saw ([\d,]+) \(([\d.]+)%\).*?(\d+) change"
    [said] = re.findall(pattern, README, re.S)
    faults, seen, percent, listed = (float(each.replace(",", "")) for each in said)
    assert (faults, seen, listed) == (found["mutants"], found["killed"], found["equivalent"])
    assert percent == round(100 * found["kill_rate_before_equivalents"], 1)
    assert found["survived"] == 0
