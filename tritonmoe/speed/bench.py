"""`tritonmoe bench`: ours and the peers found here, on one card in one run, beside the chip's floor."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import triton

from ..config import MoEConfig
from ..launches import family, select
from ..layer import route
from . import measure, verify, workloads
from .peers import CONTENDERS, Bind, obstacle
from .workloads import Batch, Ceilings, Weights

Row = dict[str, Any]


def run(arguments: argparse.Namespace) -> int:
    """Times, prints, writes. 0; 1 if a contender was wrong or ours failed; 2 if nothing could run."""
    dtype = getattr(torch, arguments.dtype)
    try:
        names = contenders(arguments.peers, dtype)
        models = arguments.chosen(arguments)
        for path in (arguments.json, arguments.plot):
            if path and not path.parent.is_dir():
                raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
        if arguments.plot and find_spec("matplotlib") is None:
            raise ValueError("--plot needs matplotlib; install it with: pip install 'tritonmoe[bench]'")
        if not torch.cuda.is_available():
            raise ValueError("needs a GPU, and torch sees none")
    except ValueError as error:
        print(f"tritonmoe bench: {error}", file=sys.stderr)
        return 2
    ceilings = measure.ceilings(dtype)
    about = _about(arguments.dtype, ceilings)
    print(_heading(about, names), flush=True)
    rows: list[Row] = []
    try:
        for model, config in models.items():
            for row in _time_model(model, config, arguments, dtype, names, ceilings):
                print(text_of(row, names), flush=True)
                rows.append(row)
            torch.cuda.empty_cache()
    except torch.AcceleratorError as error:
        print(
            f"tritonmoe bench: a contender took the GPU down; leave it out by --peers ({error})",
            file=sys.stderr,
        )
        return 1
    print(summary(rows, names))
    if arguments.json:
        arguments.json.write_text(json.dumps({**about, "contenders": names, "rows": rows}, indent=1) + "\n")
    if arguments.plot:
        plot(rows, names, arguments.plot)
    return 1 if any(row["wrong"] or "ours" not in row["ms"] for row in rows) else 0


def contenders(asked: str, dtype: torch.dtype) -> list[str]:
    """Ours and the peers asked for. Raises ValueError for one that is unknown or not here."""
    if asked == "none":
        return ["ours"]
    if asked == "all":
        return [name for name in CONTENDERS if not obstacle(name, dtype)]
    peers = [each.strip() for each in asked.split(",") if each.strip() != "ours"]
    for name in peers:
        if name not in CONTENDERS:
            raise ValueError(f"{name!r} is no contender; expected some of {', '.join(CONTENDERS)}")
        if obstacle(name, dtype):
            raise ValueError(f"{name} cannot run here: {obstacle(name, dtype)}")
    return ["ours", *dict.fromkeys(peers)]


def _about(dtype: str, ceilings: Ceilings) -> Row:
    return {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "launches": family(),
        "dtype": dtype,
        "bandwidth": ceilings.bandwidth,
        "rate": ceilings.rate,
    }


def _heading(about: Row, names: list[str]) -> str:
    lines = [
        f"{about['device']}, torch {about['torch']}, triton {about['triton']}, {about['dtype']}, "
        f"launch table '{about['launches']}'",
        f"copy {about['bandwidth'] / 1e12:.2f} TB/s, matrix product {about['rate'] / 1e12:.0f} TFLOP/s; "
        "milliseconds, medians under a graph (e: eager); host in microseconds; "
        "memory in MiB, measured/formula",
        *(f"  {name}: {CONTENDERS[name].note}" for name in names),
    ]
    dtype = getattr(torch, about["dtype"])
    absent = {name: obstacle(name, dtype) for name in CONTENDERS if name not in names}
    lines += [f"  {name}: not timed, {why or 'not asked for'}" for name, why in absent.items()]
    return "\n".join((*lines, "", _line(HEADERS, names, dict(zip(names, names, strict=True)))))


def _time_model(
    model: str,
    config: MoEConfig,
    arguments: argparse.Namespace,
    dtype: torch.dtype,
    names: list[str],
    ceilings: Ceilings,
) -> Iterator[Row]:
    """The rows of one model."""
    weights = workloads.make_weights(config, dtype, "cuda")
    binds: dict[str, Bind | str] = {name: _attempt(CONTENDERS[name].make, weights) for name in names}
    for skew in arguments.skew:
        for tokens in arguments.tokens:
            batch = workloads.make_batch(config, tokens, skew, dtype, "cuda")
            used = workloads.used_experts(batch)
            yield {
                "model": model,
                "tokens": tokens,
                "skew": skew,
                "used": used,
                "floor": workloads.floor_ms(config, tokens, used, dtype.itemsize, ceilings),
                **judge_and_time(binds, batch, weights, measure.milliseconds),
                **_beside(config, batch, weights, binds["ours"]),
            }


def judge_and_time(
    binds: dict[str, Bind | str],
    batch: Batch,
    weights: Weights,
    time: Callable[[measure.Call], measure.Timed],
    poison: Callable[[int], None] = measure.poison,
) -> Row:
    """Milliseconds of each contender whose result is right, and what is wrong with the others.

    ms and how by name; wrong: what is wrong with a refused result; failed: why a contender did not run.
    A bind that is a string says why it could not be made.
    """
    w_gate_up, w_down = weights.w_gate_up, weights.w_down
    rows = verify.sampled_rows(len(batch.x))
    expected = verify.expected_rows(batch, w_gate_up, w_down, rows)
    terms = max(w_down.shape[1:])
    result: Row = {"ms": {}, "how": {}, "wrong": {}, "failed": {}}
    for name, bind in binds.items():
        call = bind if isinstance(bind, str) else _attempt(bind, batch)
        if isinstance(call, str):
            result["failed"][name] = call
            continue
        poison(4 * batch.x.dtype.itemsize * batch.topk_ids.numel() * (w_gate_up.shape[1] + w_down.shape[1]))
        y = _attempt(call)
        if isinstance(y, str):
            result["failed"][name] = y
            continue
        fault = verify.fault(y, rows, expected, batch.x.dtype, terms)
        del y
        if fault:
            result["wrong"][name] = fault
            continue
        timed = _attempt(time, call)
        if isinstance(timed, str):
            result["failed"][name] = timed
        else:
            result["ms"][name], result["how"][name] = timed
    return result


def _attempt(work: Callable, *arguments: Any) -> Any:
    """What the work returns, or its error as one line: a peer's failure must not end the run."""
    try:
        return work(*arguments)
    except torch.AcceleratorError:
        raise  # the device is lost to all contenders
    except Exception as error:  # any of a foreign library's
        told = " ".join(str(error).split())[:300]
        return f"{type(error).__name__}: {told}"


def _beside(config: MoEConfig, batch: Batch, weights: Weights, ours: Bind | str) -> Row:
    """The router's own time, our time on the host, and our memory beside its formula."""
    router = _attempt(
        measure.milliseconds, lambda: route(batch.x, weights.router_weight, config, weights.correction_bias)
    )
    call = ours if isinstance(ours, str) else ours(batch)
    tokens, dtype = len(batch.x), batch.x.dtype
    launch = select(dtype, tokens * config.top_k / config.experts)
    formula = workloads.extra_bytes(config, tokens, dtype.itemsize, launch)
    beside = {"router": None if isinstance(router, str) else router.ms, "formula": formula}
    for name, measured in (("host", measure.host_microseconds), ("memory", measure.extra_memory)):
        found = _attempt(measured, call)
        beside[name] = None if isinstance(found, str) else found
    return beside


HEADERS = {
    "model": "model",
    "skew": "skew",
    "tokens": "tokens",
    "used": "used",
    "floor": "floor",
    "floor/ours": "floor/ours",
    "peer/ours": "peer/ours",
    "router": "router",
    "host": "host",
    "memory": "memory",
}


def text_of(row: Row, names: list[str]) -> str:
    """The row's line of the table, and a line for each contender that was refused or failed."""
    ms = row["ms"]
    cells = {name: _cell(row, name) for name in names}
    memory = None if row["memory"] is None else f"{row['memory'] / 2**20:.1f}/{row['formula'] / 2**20:.1f}"
    fields = {
        "model": row["model"],
        "skew": f"{row['skew']:g}",
        "tokens": str(row["tokens"]),
        "used": str(row["used"]),
        "floor": f"{row['floor']:.4f}",
        "floor/ours": _number(row["floor"] / ms["ours"] if "ours" in ms else None, 2),
        "peer/ours": _number(best_peer(row), 2),
        "router": _number(row["router"], 4),
        "host": _number(row["host"], 0),
        "memory": memory or "-",
    }
    notes = [f"  {name} WRONG, not timed: {why}" for name, why in row["wrong"].items()]
    notes += [f"  {name} failed: {why}" for name, why in row["failed"].items()]
    return "\n".join((_line(fields, names, cells), *notes))


def _line(fields: Row, names: list[str], cells: Row) -> str:
    left = f"{fields['model']:18} {fields['skew']:>4} {fields['tokens']:>6} {fields['used']:>4}"
    middle = " ".join(f"{cells[name]:>{max(9, len(name))}}" for name in names)
    right = f"{fields['floor/ours']:>10} {fields['peer/ours']:>9} {fields['router']:>7} {fields['host']:>5}"
    return f"{left} {fields['floor']:>8} {middle} {right} {fields['memory']:>15}"


def _cell(row: Row, name: str) -> str:
    if name in row["ms"]:
        return f"{row['ms'][name]:.4f}{'e' if row['how'][name] == 'eager' else ''}"
    return "wrong" if name in row["wrong"] else "failed"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def best_peer(row: Row) -> float | None:
    """The fastest peer's time over ours: above 1 where we are ahead."""
    peers = [ms for name, ms in row["ms"].items() if name != "ours"]
    return min(peers) / row["ms"]["ours"] if peers and "ours" in row["ms"] else None


def geometric_mean(values: Iterable[float]) -> float | None:
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else None


def summary(rows: list[Row], names: list[str]) -> str:
    """Geometric means over the rows in which both were timed."""
    ours = [row for row in rows if "ours" in row["ms"]]
    lines = [("floor/ours", [row["floor"] / row["ms"]["ours"] for row in ours])]
    lines.append(("best peer/ours", [ratio for ratio in map(best_peer, ours) if ratio is not None]))
    for name in names[1:]:
        lines.append((f"{name}/ours", [r["ms"][name] / r["ms"]["ours"] for r in ours if name in r["ms"]]))
    text = [
        f"  {label:20} {geometric_mean(values):6.3f}  lowest {min(values):6.3f}  rows {len(values)}"
        for label, values in lines
        if values
    ]
    return "\n".join(("", "geometric means", *text))


def markdown(document: Row) -> str:
    """The table of a file that --json wrote, as SPEED.md shows it."""
    names = document["contenders"]
    columns = ["model", "tokens", "floor", *names, "floor/ours", "peer/ours", "router", "host", "extra MiB"]
    lines = [columns, ["---"] * len(columns)]
    for row in document["rows"]:
        ratio = row["floor"] / row["ms"]["ours"] if "ours" in row["ms"] else None
        tokens = f"{row['tokens']}, Zipf {row['skew']:g}" if row["skew"] else str(row["tokens"])
        memory = None if row["memory"] is None else row["memory"] / 2**20
        times = [_number(row["ms"].get(name), 3) for name in names]
        ratios = [_number(ratio, 2), _number(best_peer(row), 2), _number(row["router"], 3)]
        fields = [row["model"], tokens, _number(row["floor"], 3), *times, *ratios, _number(row["host"], 0)]
        lines.append([*fields, _number(memory, 1)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(rows: list[Row], names: list[str], path: Path) -> None:
    """floor/ms by tokens, a panel for each model and skew; 1 is the limit of the chip."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = list(dict.fromkeys((row["model"], row["skew"]) for row in rows))
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.5 * len(panels), 4), sharey=True, squeeze=False)
    for axis, (model, skew) in zip(axes[0], panels, strict=True):
        here = [row for row in rows if (row["model"], row["skew"]) == (model, skew)]
        for name in names:
            timed = [(r["tokens"], r["floor"] / r["ms"][name]) for r in here if name in r["ms"]]
            if timed:
                axis.plot(*zip(*sorted(timed), strict=True), marker="o", markersize=3, label=name)
        axis.set(xscale="log", ylim=(0, 1.1), xlabel="tokens", title=f"{model}, {_routing(skew)}")
        axis.axhline(1, color="gray", linewidth=0.8)
    axes[0][0].set_ylabel("floor / time")
    axes[0][0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _routing(skew: float) -> str:
    return f"Zipf {skew:g}" if skew else "uniform"


if __name__ == "__main__":  # python -m tritonmoe.speed.bench FILE.json
    print(markdown(json.loads(Path(sys.argv[1]).read_text())))
