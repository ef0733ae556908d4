"""From measurements, or from vLLM's tuning files, to a launch table in the format of launches.json."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ..config import MoEConfig

Row = dict[str, Any]
NEAR = 2**0.5  # measured points whose rows an expert differ by less share a row of the table
VLLM_TILE = ("BLOCK_SIZE_M", "BLOCK_SIZE_N", "BLOCK_SIZE_K", "GROUP_SIZE_M", "num_warps", "num_stages")
VLLM_AMD = ("waves_per_eu", "matrix_instr_nonkdim", "kpack")
DEVICES = (  # pattern in the name of vLLM's file, backend, architecture
    (r"NVIDIA_(H100|H200|H20|GH200)", "cuda", 90),
    (r"NVIDIA_(A100|A800)", "cuda", 80),
    (r"NVIDIA_(A10|A40|RTX_A6000)", "cuda", 86),
    (r"NVIDIA_(L40|L4|L20|GeForce_RTX_40)", "cuda", 89),
    (r"NVIDIA_(B200|GB200)", "cuda", 100),
    (r"NVIDIA_(B300|GB300)", "cuda", 103),
    (r"AMD_Instinct_MI3(00|08|25)", "hip", "gfx942"),
    (r"AMD_Instinct_MI35", "hip", "gfx950"),
    (r"AMD_Instinct_MI2", "hip", "gfx90a"),
)


class Point(NamedTuple):
    """One measured batch: rows an expert, and milliseconds by configuration (a key that `key_of` made)."""

    rows: float
    ms: Mapping[str, float]


def key_of(row: Row) -> str:
    """A configuration of both products, {"block_m", "gate_up", "down"}, as text that can be compared."""
    return json.dumps(row, sort_keys=True)


def buckets(rows: Iterable[float]) -> list[list[float]]:
    """Numbers of rows an expert, in groups within NEAR of the group's first."""
    groups: list[list[float]] = []
    for each in sorted(set(rows)):
        if groups and each < groups[-1][0] * NEAR:
            groups[-1].append(each)
        else:
            groups.append([each])
    return groups


def choose(points: list[Point]) -> list[Row]:
    """Rows of a table: for each bucket the configuration whose time over the best is least in the mean.

    The mean is geometric. Only configurations that every point of the bucket measured can win. Limits lie
    halfway, by ratio, between buckets. Raises ValueError if a bucket has no common configuration.
    """
    groups = buckets(point.rows for point in points)
    chosen = []
    for group in groups:
        here = [point for point in points if point.rows in group]
        common = set.intersection(*(set(point.ms) for point in here))
        if not common:
            raise ValueError(f"no configuration was right on every batch of {group[0]:g} rows an expert")

        def cost(key: str, here: list[Point] = here) -> tuple[float, str]:
            return sum(math.log(point.ms[key] / min(point.ms.values())) for point in here), key

        chosen.append(json.loads(min(common, key=cost)))
    limits = [(left[-1] * right[0]) ** 0.5 for left, right in pairwise(groups)]
    return with_limits(chosen, limits)


def with_limits(rows: list[Row], limits: list[float]) -> list[Row]:
    """Rows with max_rows, equal neighbours joined; limits: one fewer than rows."""
    joined: list[Row] = []
    for row, most in zip(rows, [*limits, None], strict=True):
        if joined and all(joined[-1][name] == row[name] for name in ("block_m", "gate_up", "down")):
            joined[-1]["max_rows"] = most
        else:
            ordered = {"block_m": row["block_m"], "max_rows": most}
            joined.append({**ordered, "gate_up": row["gate_up"], "down": row["down"]})
    return joined


def table(backend: str, arch: int | str, width: str, rows: list[Row], source: str, prefix: str) -> Row:
    """A file's content: one family for this architecture; all but the rows is what ships for it."""
    name = f"sm{arch}" if backend == "cuda" else str(arch).split(":")[0]
    base = json.loads(files("tritonmoe").joinpath("launches.json").read_text())
    shipped = next((each for each in base.values() if name in each["architectures"]), base["default"])
    made = {**shipped, "architectures": [name], "source": source}
    made["experts"] = {**shipped["experts"], width: rows}
    return {f"{prefix}-{name}": made}


def from_vllm(path: Path, config: MoEConfig) -> Row:
    """A table out of one of vLLM's fused_moe files, whose configuration for a batch serves both products.

    Its name says the GPU. Its BLOCK_SIZE_N counts gate and up columns together: half of it for gate_up. Its
    batch sizes become rows an expert with config's top_k and experts. Raises ValueError for what it is not.
    """
    backend, arch = _device(path, config)
    try:
        batches = json.loads(path.read_text())
        batches = {int(key): entry for key, entry in batches.items() if key != "triton_version"}
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{path}: expected a JSON object by batch sizes, as vLLM's tuning writes") from error
    if not batches or min(batches) < 1:
        raise ValueError(f"{path}: expected batch sizes of at least 1")
    order = sorted(batches)
    rows = [_row(f"{path}: batch {batch}", batches[batch]) for batch in order]
    # vLLM takes the nearest batch size: it changes halfway between two.
    per_token = config.top_k / config.experts
    limits = [(left + right) / 2 * per_token for left, right in pairwise(order)]
    source = f"derived from vLLM's {path.name}; not measured with these kernels"
    return table(backend, arch, "16bit", with_limits(rows, limits), source, "vllm")


def _device(path: Path, config: MoEConfig) -> tuple[str, int | str]:
    name = path.name
    kind = re.search(r"dtype=(\w+)", name)
    if kind and kind[1] not in ("bf16", "fp16", "bfloat16", "float16"):
        raise ValueError(f"{name} is for {kind[1]} weights; expected a file for 16-bit ones, without dtype=")
    experts = re.search(r"E=(\d+)", name)
    if experts and int(experts[1]) != config.experts:
        raise ValueError(f"{name} is for {experts[1]} experts, and the model has {config.experts}")
    for pattern, backend, arch in DEVICES:
        if re.search(pattern, name):
            return backend, arch
    raise ValueError(f"{name} names no known GPU; expected device_name=NVIDIA_... or AMD_Instinct_... in it")


def _row(place: str, entry: Any) -> Row:
    if not isinstance(entry, dict):
        raise ValueError(f"{place} is no object")
    missing = [key for key in VLLM_TILE if key not in entry]
    unknown = [key for key in entry if key not in (*VLLM_TILE, *VLLM_AMD, "SPLIT_K")]
    if missing or unknown or entry.get("SPLIT_K", 1) != 1:
        wrong = [f"lacks {key}" for key in missing] + [f"has {key}" for key in unknown]
        raise ValueError(f"{place} {'; '.join(wrong) or 'splits K'}, which cannot be converted")
    options = {key: entry[key] for key in ("num_warps", "num_stages", *VLLM_AMD) if key in entry}
    columns = entry["BLOCK_SIZE_N"]
    tile = {"block_k": entry["BLOCK_SIZE_K"], "group_m": entry["GROUP_SIZE_M"], "options": options}
    return {
        "block_m": entry["BLOCK_SIZE_M"],
        "gate_up": {"block_n": max(16, columns // 2), **tile},
        "down": {"block_n": columns, **tile},
    }
