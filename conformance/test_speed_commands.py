"""bench and tune, as far as no GPU is needed: what they accept, the floor, the judgement, the rows."""

import argparse
import dataclasses
from collections.abc import Callable

import pytest
import torch

from tritonmoe import MoEConfig, launches, presets
from tritonmoe.speed import peers, search, verify, workloads
from tritonmoe.speed.bench import best_peer, geometric_mean, judge_and_time, markdown, summary, text_of
from tritonmoe.speed.commands import register
from tritonmoe.speed.measure import Timed
from tritonmoe.speed.workloads import Batch, Ceilings, Weights

H100 = Ceilings(3.02e12, 738.7e12)
SMALL = MoEConfig(experts=8, top_k=2, hidden=64, intermediate=48)


@pytest.fixture
def parsed() -> Callable[..., argparse.Namespace]:
    parser = argparse.ArgumentParser(prog="tritonmoe")
    register(parser.add_subparsers())
    return lambda *arguments: parser.parse_args(arguments)


def test_bench_takes_lists_and_chooses_all_peers(parsed) -> None:
    got = parsed("bench", "--models", "mixtral-8x7b,olmoe-1b-7b", "--tokens", "1, 16", "--skew", "0,2.0")
    assert list(got.chosen(got)) == ["mixtral-8x7b", "olmoe-1b-7b"]
    assert (got.tokens, got.skew, got.dtype, got.peers) == ([1, 16], [0.0, 2.0], "bfloat16", "all")


def test_four_sizes_are_a_model(parsed) -> None:
    sizes = ["--experts", "8", "--top-k", "2", "--hidden", "64", "--intermediate", "48"]
    got = parsed("tune", *sizes, "-o", "t.json")
    assert got.chosen(got) == {"8-2-64-48": SMALL}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "--models", "gpt"], "'gpt' is no preset; expected some of mixtral-8x7b"),
        (["bench", "--tokens", "1,x"], "'1,x'; expected numbers of at least 1, separated by commas"),
        (["bench", "--tokens", "0"], "expected numbers of at least 1"),
        (["bench", "--skew", "-1"], "expected 0 or a Zipf exponent"),
        (["bench", "--dtype", "int8"], "invalid choice: 'int8'"),
        (["tune", "--models", "mixtral-8x7b"], "required: -o/--output"),
        (["tune", "-o", "t.json"], "give --models, or all of --experts"),
        (["tune", "-o", "t.json", "--experts", "8"], "without top_k, hidden, intermediate; give all four"),
        (["tune", "-o", "t.json", "--models", "olmoe-1b-7b", "--rounds", "0"], "at least 1"),
        (["bench", "--experts", "2", "--top-k", "3", "--hidden", "8", "--intermediate", "8"], "top_k is 3"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(parsed, capsys, arguments, message) -> None:
    def understand() -> None:
        got = parsed(*arguments)
        got.chosen(got)

    with pytest.raises(SystemExit) as stop:
        understand()
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "--peers", "fastest"], "'fastest' is no contender; expected some of ours, vllm"),
        (["bench", "--peers", "vllm", "--dtype", "float32"], "vllm cannot run here: not in float32"),
        (["bench", "--peers", "none", "--json", "no/such/b.json"], "there is no folder no/such"),
        (["tune", "--models", "olmoe-1b-7b", "-o", "no/such/t.json"], "there is no folder no/such"),
        (
            ["tune", "--models", "olmoe-1b-7b,mixtral-8x7b", "-o", "t.json", "--from-vllm", "f"],
            "one model at",
        ),
        (["tune", "--models", "olmoe-1b-7b", "-o", "t.json", "--from-vllm", "E=64.json"], "no known GPU"),
    ],
)
def test_what_cannot_run_is_one_line_and_exit_2(parsed, capsys, arguments, message) -> None:
    got = parsed(*arguments)
    assert got.run(got) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("command", [["bench"], ["tune", "--models", "olmoe-1b-7b", "-o", "t.json"]])
def test_without_a_gpu_nothing_is_timed(parsed, capsys, monkeypatch, command) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    got = parsed(*command)
    assert got.run(got) == 2
    assert "needs a GPU, and torch sees none" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["bench", "tune"])
def test_help_has_examples_and_exit_codes(parsed, capsys, command: str) -> None:
    with pytest.raises(SystemExit):
        parsed(command, "--help")
    told = capsys.readouterr().out
    assert f"examples:\n  tritonmoe {command}" in told
    assert "exit codes: 0" in told


@pytest.mark.parametrize(
    ("model", "tokens", "used", "milliseconds"),
    [
        ("mixtral-8x7b", 1, 2, 0.2333),  # 704,659,456 bytes
        ("mixtral-8x7b", 8192, 8, 7.8143),  # 5.772e12 operations
        ("qwen2-57b-a14b", 1, 8, 0.1459),
        ("deepseek-v3", 1, 8, 0.2333),
    ],
)
def test_the_floor_is_the_longer_of_moving_and_computing(model, tokens, used, milliseconds) -> None:
    assert workloads.floor_ms(presets[model], tokens, used, 2, H100) == pytest.approx(milliseconds, abs=5e-4)


def test_extra_memory_counts_packed_rows_once_more() -> None:
    base = launches.shipped(torch.bfloat16, "default")[0][0]
    packing = search.tile_of(
        {"block_n": 64, "block_k": 64, "group_m": 1, "options": {}, "wide": True, "packed": True}, 16
    )
    plain = workloads.extra_bytes(SMALL, 3, 2, base)
    assert plain == 2 * 6 * (48 + 64) + 4 * (5 * 6 + 4 * 8)
    packed = dataclasses.replace(base, gate_up=packing)
    assert workloads.extra_bytes(SMALL, 3, 2, packed) - plain == 2 * 6 * 64


def test_a_steeper_zipf_uses_fewer_experts_and_a_token_none_twice() -> None:
    config = presets["qwen2-57b-a14b"]
    used = []
    for skew in (0.0, 2.0, 8.0):
        ids = workloads.make_batch(config, 32, skew, torch.float32, "cpu").topk_ids
        assert all(len(set(row)) == config.top_k for row in ids.tolist())
        used.append(int(torch.bincount(ids.flatten().long(), minlength=64).max()) / len(ids))
    assert used == sorted(used)
    assert used[0] < 0.4 < used[-1] == 1.0


def _problem(
    dtype: torch.dtype = torch.bfloat16, device: str | torch.device = "cpu"
) -> tuple[Weights, Batch]:
    weights = workloads.make_weights(SMALL, dtype, str(device))
    return weights, workloads.make_batch(SMALL, 40, 0.0, dtype, str(device))


def _right(weights: Weights) -> Callable[[Batch], Callable[[], torch.Tensor]]:
    def bind(batch: Batch) -> Callable[[], torch.Tensor]:
        rows = torch.arange(len(batch.x))
        return lambda: verify.expected_rows(batch, weights.w_gate_up, weights.w_down, rows).to(batch.x.dtype)

    return bind


def _drop_a_slot(y: torch.Tensor, weights: Weights, batch: Batch) -> torch.Tensor:
    return _right(weights)(batch._replace(topk_weights=batch.topk_weights * torch.tensor([1.0, 0.0])))()


def _next_expert(y: torch.Tensor, weights: Weights, batch: Batch) -> torch.Tensor:
    return _right(weights)(batch._replace(topk_ids=(batch.topk_ids + 1) % SMALL.experts))()


def _one_element(y: torch.Tensor, weights: Weights, batch: Batch) -> torch.Tensor:
    y = y.clone()
    y[-1, 5] += 0.2 * y[-1].float().pow(2).mean().sqrt()
    return y


WRONG = {
    "zeros": lambda y, *_: torch.zeros_like(y),
    "half scale": lambda y, *_: y / 2,
    "3% too large": lambda y, *_: y.float().mul(1.03).to(y.dtype),
    "a NaN": lambda y, *_: torch.where(torch.arange(64) == 7, float("nan"), y),
    "a dropped slot": _drop_a_slot,
    "another expert": _next_expert,
    "one element": _one_element,
    "rows in another order": lambda y, *_: y.roll(1, 0),
    "another dtype": lambda y, *_: y.float(),
    "another shape": lambda y, *_: y[:, :32],
}


@pytest.mark.parametrize("fault", WRONG)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_wrong_result_is_refused_and_never_timed(fault: str, dtype: torch.dtype) -> None:
    weights, batch = _problem(dtype)
    timed: list[str] = []

    def time(call: Callable[[], torch.Tensor]) -> Timed:
        timed.append("right")
        return Timed(1.5, "graph")

    def wrong(batch: Batch) -> Callable[[], torch.Tensor]:
        return lambda: WRONG[fault](_right(weights)(batch)(), weights, batch)

    binds = {"ours": _right(weights), "peer": wrong}
    result = judge_and_time(binds, batch, weights, time, poison=lambda _: None)
    assert timed == ["right"]
    assert (result["ms"], result["how"]) == ({"ours": 1.5}, {"ours": "graph"})
    assert list(result["wrong"]) == ["peer"]


def test_a_contender_that_fails_is_named_and_the_others_are_timed() -> None:
    weights, batch = _problem()

    def broken(batch: Batch) -> Callable[[], torch.Tensor]:
        raise RuntimeError("no kernel\nfor this GPU")

    binds = {"ours": _right(weights), "peer": broken, "other": "ImportError: gone"}
    result = judge_and_time(binds, batch, weights, lambda _: Timed(1.0, "eager"), poison=lambda _: None)
    assert result["ms"] == {"ours": 1.0}
    assert result["failed"] == {"peer": "RuntimeError: no kernel for this GPU", "other": "ImportError: gone"}


@pytest.mark.parametrize("name", ["ours", "grouped_mm"])
def test_contenders_that_run_here_are_right(name: str, device: torch.device) -> None:
    if name == "grouped_mm":
        device = torch.device("cuda" if device.type == "cuda" else "cpu")
    weights, batch = _problem(torch.bfloat16, device)
    bind = peers.CONTENDERS[name].make(weights)
    result = judge_and_time(
        {name: bind}, batch, weights, lambda _: Timed(1.0, "eager"), poison=lambda _: None
    )
    assert result["wrong"] == result["failed"] == {}


def test_alignment_for_the_bare_kernel_gives_every_slot_a_tile_of_its_expert() -> None:
    batch = workloads.make_batch(SMALL, 21, 1.0, torch.float32, "cpu")
    slots, tile_expert, total = peers._aligned(batch.topk_ids, SMALL.experts, 16)
    assert len(slots) == int(total) == 16 * len(tile_expert)
    real = slots < 42
    assert sorted(slots[real].tolist()) == list(range(42))
    expert = tile_expert.repeat_interleave(16)[real]
    assert torch.equal(expert, batch.topk_ids.flatten()[slots[real].long()])


ROW = {
    **{"model": "m", "tokens": 8, "skew": 2.0, "used": 5, "floor": 0.5, "router": 0.01, "host": 45.0},
    **{"memory": 3 << 20, "formula": 4 << 20, "how": {"ours": "graph", "vllm": "eager"}},
    **{"ms": {"ours": 1.0, "vllm": 1.25}, "wrong": {"grouped_mm": "has 3 elements"}, "failed": {}},
}


RATIOS = ["0.50", "1.25", "0.0100", "45", "3.0/4.0"]  # floor/ours, peer/ours, router, host, memory


def test_a_row_shows_times_ratios_and_what_was_refused() -> None:
    line, note = text_of(ROW, ["ours", "vllm", "grouped_mm"]).splitlines()
    assert line.split() == ["m", "2", "8", "5", "0.5000", "1.0000", "1.2500e", "wrong", *RATIOS]
    assert note == "  grouped_mm WRONG, not timed: has 3 elements"
    assert best_peer(ROW) == 1.25


def test_the_end_has_geometric_means() -> None:
    other = {**ROW, "floor": 2.0, "ms": {"ours": 2.5, "vllm": 12.5}}
    told = summary([ROW, other], ["ours", "vllm", "grouped_mm"])
    assert "floor/ours            0.632  lowest  0.500  rows 2" in told
    assert "best peer/ours        2.500  lowest  1.250  rows 2" in told
    assert "grouped_mm" not in told
    assert geometric_mean([]) is None


def test_figures_become_the_rows_of_speed_md() -> None:
    other = {**ROW, "ms": {"vllm": 1.25}, "skew": 0.0, "host": None, "memory": None}
    *_, skewed, plain = markdown({"contenders": ["ours", "vllm"], "rows": [ROW, other]}).splitlines()
    assert skewed == "| m | 8, Zipf 2 | 0.500 | 1.000 | 1.250 | 0.50 | 1.25 | 0.010 | 45 | 3.0 |"
    assert plain == "| m | 8 | 0.500 | - | 1.250 | - | - | 0.010 | - | - |"
