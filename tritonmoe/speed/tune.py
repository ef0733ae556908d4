"""`tritonmoe tune`: the fastest configurations on this GPU, or those of a file of vLLM's, as a launch table.

The two products share the tile height and the schedule, nothing else: for each height they are searched
apart, then their best are timed together as a whole call. Every configuration is checked before its time
counts.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import triton

from .. import launches
from ..config import MoEConfig
from ..down import down
from ..gate_up import gate_up
from ..launches import Launch
from ..layer import fused_experts
from ..schedule import plan_of
from . import measure, search, tuned, verify, workloads
from .precompile import Job, Pool
from .workloads import Batch, Weights

Row = dict[str, Any]
QUICK, FINAL = 40, 200  # milliseconds of repeats
FINALISTS = 2  # of each product at each height


def run(arguments: argparse.Namespace) -> int:
    """Searches or converts, and writes the table. 0; 1 if nothing right was found; 2 if it could not run."""
    try:
        models = arguments.chosen(arguments)
        _check_output(arguments.output)
        if arguments.from_vllm:
            return _convert(arguments, models)
        if not torch.cuda.is_available():
            raise ValueError("needs a GPU, and torch sees none; --from-vllm works without one")
    except ValueError as error:
        print(f"tritonmoe tune: {error}", file=sys.stderr)
        return 2
    target = triton.runtime.driver.active.get_current_target()
    dtype = getattr(torch, arguments.dtype)
    with Pool(target, arguments.workers) as pool:
        tuner = Tuner(pool, target, dtype, arguments.rounds, arguments.heights)
        batches = [(tokens, skew) for skew in arguments.skew for tokens in arguments.tokens]
        points = tuner.points(models, batches)
    try:
        rows = tuned.choose(points)
    except ValueError as error:
        print(f"tritonmoe tune: {error}", file=sys.stderr)
        return 1
    versions = f"torch {torch.__version__}, triton {triton.__version__}, {arguments.dtype}"
    tokens = ", ".join(map(str, arguments.tokens))
    source = f"measured on {torch.cuda.get_device_name()}, {versions}: {', '.join(models)}; tokens {tokens}"
    width = "16bit" if dtype.itemsize == 2 else "32bit"
    _write(arguments.output, tuned.table(target.backend, target.arch, width, rows, source, "tuned"))
    return 0


def _convert(arguments: argparse.Namespace, models: dict[str, MoEConfig]) -> int:
    if len(models) != 1:
        raise ValueError(f"--from-vllm is for one model at a time, not {len(models)}")
    _write(arguments.output, tuned.from_vllm(arguments.from_vllm, next(iter(models.values()))))
    return 0


def _check_output(path: Path) -> None:
    if not path.parent.is_dir():
        raise ValueError(f"--output {path}: there is no folder {path.parent}")


def _write(path: Path, tables: Row) -> None:
    path.write_text(json.dumps(tables, indent=1) + "\n")
    (name,) = tables
    for width, rows in tables[name]["experts"].items():
        print(f"{name} {width}: {len(rows)} rows, tile heights {', '.join(str(r['block_m']) for r in rows)}")
    print(f"wrote {path}; use it with {launches.VARIABLE}={path} or tritonmoe.launches.use({str(path)!r})")


class Tuner:
    """A search on the GPU: what is common to all models and batches."""

    def __init__(
        self, pool: Pool, target: Any, dtype: torch.dtype, rounds: int, heights: Sequence[int] | None
    ) -> None:
        self.pool, self.target, self.dtype, self.rounds, self.heights = pool, target, dtype, rounds, heights
        active = triton.runtime.driver.active
        properties = active.utils.get_device_properties(active.get_current_device())
        self.shared = properties["max_shared_mem"]
        self.seeds: dict[str, list[Row]] = {"gate_up": [], "down": []}
        for launch, _ in launches.shipped(dtype, launches.family()):
            for stage in self.seeds:
                self.seeds[stage].append(_row_of(getattr(launch, stage)))

    def points(self, models: dict[str, MoEConfig], batches: Sequence[tuple[int, float]]) -> list[tuned.Point]:
        """Every batch of every model, searched, then timed with what won on similar ones."""
        found: dict[tuple[str, int, float], dict[str, float]] = {}
        for name, config in models.items():
            weights = workloads.make_weights(config, self.dtype, "cuda")
            for tokens, skew in batches:
                found[name, tokens, skew] = self._search(name, config, weights, tokens, skew)
            del weights
            torch.cuda.empty_cache()
        rows = {each: each[1] * models[each[0]].top_k / models[each[0]].experts for each in found}
        for name, config in models.items():
            self._cross(name, config, found, rows)
        return [tuned.Point(rows[each], ms) for each, ms in found.items()]

    def _cross(
        self,
        name: str,
        config: MoEConfig,
        found: dict[tuple[str, int, float], dict[str, float]],
        rows: dict[tuple[str, int, float], float],
    ) -> None:
        """Times a model's batches with the finalists of other batches that share their row of the table."""
        weights = None
        for group in tuned.buckets(rows.values()):
            near = [each for each in found if rows[each] in group]
            union = {configuration for each in near for configuration in found[each]}
            for each in near:
                missing = sorted(union - set(found[each]))
                if each[0] != name or not missing:
                    continue
                weights = weights or workloads.make_weights(config, self.dtype, "cuda")
                point = Measured(self, config, weights, *each[1:])
                found[each].update(point.whole([json.loads(configuration) for configuration in missing]))
        del weights
        torch.cuda.empty_cache()

    def _search(
        self, name: str, config: MoEConfig, weights: Weights, tokens: int, skew: float
    ) -> dict[str, float]:
        """Whole-call milliseconds of the finalists of every height, by key."""
        point = Measured(self, config, weights, tokens, skew)
        rows = tokens * config.top_k / config.experts
        finalists: list[Row] = []
        for block_m in self.heights or search.heights(rows, self.dtype):
            best: dict[str, list[Row]] = {}
            for stage, seeds in self.seeds.items():
                start = time.perf_counter()
                space = search.Space(
                    stage, block_m, self.dtype, self.target.backend, self.target.arch, self.shared
                )
                one = point.stage(stage, block_m)
                tried = search.descend(space.seeds(seeds), space.neighbours, one.measure, self.rounds)
                best[stage] = [json.loads(each) for each in list(tried)[:FINALISTS]]
                print(
                    f"{name}, {tokens} tokens, skew {skew:g}, height {block_m}, {stage}: "
                    f"{next(iter(tried.values()), float('nan')):.4f} ms, {len(tried)} right of "
                    f"{one.tried} tried, {time.perf_counter() - start:.0f} s",
                    flush=True,
                )
            finalists += [
                {"block_m": block_m, "gate_up": first, "down": second}
                for first in best["gate_up"]
                for second in best["down"]
            ]
        ms = point.whole(finalists)
        for stage in self.seeds:  # a winner is where the next batch's search starts
            winners = [json.loads(min(ms, key=ms.__getitem__))[stage]] if ms else []
            self.seeds[stage] = search.unique([*self.seeds[stage], *winners])
        if ms:
            print(f"{name}, {tokens} tokens, skew {skew:g}: {min(ms.values()):.4f} ms", flush=True)
        return ms


class Measured:
    """One batch of one model: what its results must be, and the time of whole calls."""

    def __init__(self, tuner: Tuner, config: MoEConfig, weights: Weights, tokens: int, skew: float) -> None:
        self.tuner, self.config, self.weights = tuner, config, weights
        self.batch: Batch = workloads.make_batch(config, tokens, skew, tuner.dtype, "cuda")
        self.base = launches.select(tuner.dtype, tokens * config.top_k / config.experts)
        self.rows = verify.sampled_rows(tokens)
        self.expected = verify.expected_rows(self.batch, weights.w_gate_up, weights.w_down, self.rows)

    def launch(self, block_m: int, **tiles: Row) -> Launch:
        """The base configuration at this height, with the stages given."""
        made = {
            stage: dataclasses.replace(getattr(self.base, stage), block_m=block_m)
            for stage in ("gate_up", "down")
        }
        made.update({stage: search.tile_of(row, block_m) for stage, row in tiles.items()})
        return dataclasses.replace(self.base, block_m=block_m, **made)

    def whole(self, configurations: Sequence[Row]) -> dict[str, float]:
        """Milliseconds of `fused_experts` by key, of those that are right."""
        weights, batch = self.weights, self.batch
        ms = {}
        for each in configurations:
            launch = self.launch(each["block_m"], gate_up=each["gate_up"], down=each["down"])

            def call(launch: Launch = launch) -> torch.Tensor:
                return fused_experts(batch.x, weights.w_gate_up, weights.w_down, *batch[1:], launch=launch)

            timed = _judged(
                call, self.rows, self.expected, self.tuner.dtype, max(weights.w_down.shape[1:]), FINAL
            )
            if timed is not None:
                ms[tuned.key_of(each)] = timed
        return ms

    def stage(self, stage: str, block_m: int) -> "StageAtHeight":
        return StageAtHeight(self, stage, block_m)


class StageAtHeight:
    """One product at one tile height: compiles, checks and times configurations of it."""

    def __init__(self, point: Measured, stage: str, block_m: int) -> None:
        self.point, self.name, self.block_m, self.tried = point, stage, block_m, 0
        config, batch, weights = point.config, point.batch, point.weights
        self.plan = plan_of(batch.topk_ids, config.experts, point.launch(block_m))
        slots = batch.topk_ids.numel()
        rows = verify.sampled_rows(slots)
        slot, order = rows.to("cuda"), self.plan.sorted_slots
        slot = slot if order is None else order[slot].long()
        expert = batch.topk_ids.flatten()[slot].tolist()
        token = slot // config.top_k
        generator = torch.Generator("cuda").manual_seed(3)
        self.input = batch.x
        if stage == "down":
            values = torch.randn(slots, config.intermediate, device="cuda", generator=generator)
            self.input = values.to(batch.x.dtype)
            self.rows = slot.cpu()
            expected = [
                self.input[r].double() @ weights.w_down[e].double().T
                for r, e in zip(rows, expert, strict=True)
            ]
        else:
            self.rows = rows
            expected = [
                verify.expected_activation(batch.x[t][None], weights.w_gate_up[e])[0]
                for t, e in zip(token, expert, strict=True)
            ]
        self.expected = torch.stack(expected)
        self.terms = config.intermediate if stage == "down" else config.hidden

    def measure(self, rows: Sequence[Row]) -> dict[str, float]:
        """Milliseconds by key of the rows that compile, fit, and are right."""
        point = self.point
        built = {search.key(row): point.launch(self.block_m, **{self.name: row}) for row in rows}
        jobs = [
            Job(self.name, launch, point.config, point.tuner.dtype, len(point.batch.x))
            for launch in built.values()
        ]
        self.tried += len(jobs)
        ms = {}
        for (key, launch), done in zip(built.items(), point.tuner.pool.compile(jobs), strict=True):
            if done.error or done.shared > point.tuner.shared:
                continue
            timed = _judged(
                lambda launch=launch: self._run(launch),
                self.rows,
                self.expected,
                point.tuner.dtype,
                self.terms,
                QUICK,
            )
            if timed is not None:
                ms[key] = timed
        return ms

    def _run(self, launch: Launch) -> torch.Tensor:
        weights = self.point.weights
        if self.name == "gate_up":
            return gate_up(self.input, weights.w_gate_up, self.plan, launch)
        return down(self.input, weights.w_down, self.plan, launch)


def _judged(
    call: measure.Call,
    rows: torch.Tensor,
    expected: torch.Tensor,
    dtype: torch.dtype,
    terms: int,
    budget: float,
) -> float | None:
    """Milliseconds, or None for what does not run or gives a wrong result."""
    try:
        result = call()
        size = result.untyped_storage().nbytes()
        del result
        measure.poison(2 * size)
        if verify.fault(call(), rows, expected, dtype, terms):
            return None
        return measure.milliseconds(call, budget).ms
    except (RuntimeError, triton.TritonError) as error:
        if isinstance(error, torch.AcceleratorError):
            raise  # the device is lost: nothing measured after it would mean anything
        return None


def _row_of(tile: launches.Tile) -> Row:
    """A shipped tile as a row of a table, fields at their defaults left out."""
    row: Row = {}
    for field in dataclasses.fields(tile):
        value = getattr(tile, field.name)
        if field.name != "block_m" and value != field.default:
            row[field.name] = value
    row["options"] = {name: value for name, value in tile.options.items() if name != "enable_fp_fusion"}
    return row
