"""Launch tables that users make: vLLM's files converted, the search, the choice, and what is refused."""

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from triton.backends.compiler import GPUTarget

from tritonmoe import MoEConfig, launches, presets
from tritonmoe.speed import precompile, search, tuned

SMALL = MoEConfig(experts=8, top_k=2, hidden=64, intermediate=48)


@pytest.fixture
def own_tables() -> Iterator[Callable[[Path], None]]:
    yield launches.use
    launches.use(None)


def _entry(**changes: int) -> dict:
    tile = dict(BLOCK_SIZE_M=16, BLOCK_SIZE_N=64, BLOCK_SIZE_K=128, GROUP_SIZE_M=1, num_warps=4, num_stages=3)
    return {**tile, **changes}


AMD = dict(waves_per_eu=0, matrix_instr_nonkdim=16, kpack=2)
VLLM_NAME = "E=8,N=14336,device_name=AMD_Instinct_MI300X.json"


def _vllm_file(folder: Path, content: object, name: str = VLLM_NAME) -> Path:
    path = folder / name
    path.write_text(json.dumps(content))
    return path


def test_vllm_files_become_tables(tmp_path: Path, own_tables) -> None:
    content = {"1": _entry(**AMD), "3": _entry(**AMD), "64": _entry(BLOCK_SIZE_M=64, **AMD)}
    path = _vllm_file(tmp_path, {"triton_version": "3.6.0", **content})
    tables = tuned.from_vllm(path, presets["mixtral-8x7b"])
    table = tables["vllm-gfx942"]
    options = dict(num_warps=4, num_stages=3, **AMD)
    tile = dict(block_k=128, group_m=1, options=options)
    first, second = table["experts"]["16bit"]
    assert first == {
        **{"block_m": 16, "max_rows": 33.5 * 2 / 8},  # halfway to 64 tokens, 2 of 8 experts each
        "gate_up": {"block_n": 32, **tile},  # vLLM counts gate and up columns
        "down": {"block_n": 64, **tile},
    }
    assert (second["block_m"], second["max_rows"]) == (64, None)
    assert table["source"].startswith("derived from vLLM's E=8")
    written = tmp_path / "table.json"
    written.write_text(json.dumps(tables))
    own_tables(written)
    assert launches.family_of("hip", "gfx942:sramecc+") == "vllm-gfx942"
    assert [most for _, most in launches.shipped(torch.float16, "vllm-gfx942")] == [8.375, math.inf]
    assert launches.family_of("cuda", 90) == "hopper"


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ({"1": _entry()}, "E=8,N=1,device_name=NVIDIA_H100,dtype=fp8_w8a8.json", "is for fp8_w8a8 weights"),
        ({"1": _entry()}, "E=64,N=1,device_name=NVIDIA_H100.json", "for 64 experts, and the model has 8"),
        ({"1": _entry()}, "E=8,N=1,device_name=TPU_v9.json", "names no known GPU"),
        ({"1": _entry(SPLIT_K=4)}, VLLM_NAME, "batch 1 splits K"),
        ({"1": _entry(USE_TMA=1)}, VLLM_NAME, "batch 1 has USE_TMA"),
        ({"2": {"BLOCK_SIZE_M": 16}}, VLLM_NAME, "batch 2 lacks BLOCK_SIZE_N"),
        ({"few": _entry()}, VLLM_NAME, "expected a JSON object by batch sizes"),
        ([1, 2], VLLM_NAME, "expected a JSON object by batch sizes"),
        ({}, VLLM_NAME, "expected batch sizes of at least 1"),
    ],
)
def test_what_is_no_vllm_file_for_the_model_is_refused(tmp_path, content, name, message) -> None:
    with pytest.raises(ValueError, match=message):
        tuned.from_vllm(_vllm_file(tmp_path, content, name), presets["mixtral-8x7b"])


def _configuration(block_m: int, block_n: int = 64) -> dict:
    tile = {"block_n": block_n, "block_k": 64, "group_m": 8, "options": {"num_warps": 4, "num_stages": 3}}
    return {"block_m": block_m, "gate_up": tile, "down": {**tile, "persistent": 1}}


A, B, C = (tuned.key_of(_configuration(block_m)) for block_m in (16, 64, 128))


def test_a_table_takes_what_loses_least_over_models_and_joins_equal_rows() -> None:
    points = [
        tuned.Point(1, {A: 1.0, B: 2.0}),
        tuned.Point(4, {A: 2.0, B: 2.1}),
        tuned.Point(16, {A: 1.0, B: 1.1, C: 9.0}),  # two models with nearly the same rows an expert
        tuned.Point(18, {A: 3.0, B: 1.0}),
        tuned.Point(256, {C: 5.0}),
    ]
    rows = tuned.choose(points)
    assert [(row["block_m"], row["max_rows"]) for row in rows] == [
        (16, 8.0),
        (64, (18 * 256) ** 0.5),
        (128, None),
    ]
    assert rows[0]["down"] == _configuration(16)["down"]


def test_a_table_needs_a_configuration_that_is_right_everywhere() -> None:
    with pytest.raises(ValueError, match="no configuration was right on every batch of 16 rows"):
        tuned.choose([tuned.Point(16, {A: 1.0}), tuned.Point(17, {B: 1.0})])


@pytest.mark.parametrize("width", ["16bit", "32bit"])
def test_a_tuned_table_is_complete_and_goes_before_the_shipped_ones(tmp_path, own_tables, width) -> None:
    rows = tuned.with_limits([_configuration(16), _configuration(64, 128)], [12.5])
    path = tmp_path / "own.json"
    path.write_text(json.dumps(tuned.table("cuda", 90, width, rows, "measured", "tuned")))
    own_tables(path)
    assert launches.family_of("cuda", 90) == "tuned-sm90"
    assert set(launches.families()) > {"tuned-sm90", "hopper", "default"}
    mine, other = (torch.float16, torch.float32) if width == "16bit" else (torch.float32, torch.float16)
    (first, most), (second, _) = launches.shipped(mine, "tuned-sm90")
    assert (first.block_m, most, second.gate_up.block_n, second.down.persistent) == (16, 12.5, 128, 1)
    hopper = [launch.gate_up for launch, _ in launches.shipped(other, "hopper")]
    assert [launch.gate_up for launch, _ in launches.shipped(other, "tuned-sm90")] == hopper
    own_tables(None)
    assert launches.family_of("cuda", 90) == "hopper"


def _shipped_as_own() -> dict:
    tables = json.loads(Path(launches.__file__).with_name("launches.json").read_text())
    return {"mine": {**tables["default"], "architectures": ["sm90"]}}


def _broken(path: str, value: object) -> dict:
    """A copy of a shipped table with one entry changed, or left out."""
    tables = _shipped_as_own()
    *way, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    place = tables["mine"]
    for part in way:
        place = place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return tables


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ([], "the file must be an object"),
        ({"mine": {}}, "mine must be an object with entries"),
        (_broken("architectures", "sm90"), r'architectures must be names, such as \["sm90"\]'),
        (_broken("sum", None), "mine lacks sum"),
        (_broken("experts/16bit", []), "must be a list of at least one row"),
        (_broken("experts/16bit/0/block_m", 24), "block_m is 24; expected a power of two"),
        (_broken("experts/16bit/0/max_rows", -1), "max_rows is -1; expected numbers that rise"),
        (_broken("experts/16bit/2/max_rows", 99), "ends with max_rows 99; expected null"),
        (_broken("experts/16bit/1/down", None), r"experts.16bit\[1\] lacks down"),
        (_broken("experts/16bit/1/down/widde", True), "down has unknown fields: widde"),
        (_broken("experts/16bit/1/down/mixed", True), "down.mixed is True; expected a whole number"),
        (_broken("experts/16bit/1/down/mixed", -5), "down.mixed is -5; expected a whole number"),
        (_broken("experts/32bit/0/gate_up/block_k", "64"), "block_k is '64'; expected a power of two"),
        (_broken("experts/32bit/0/gate_up/options", 4), "options must be an object"),
    ],
)
def test_a_broken_table_is_refused_by_file_and_place(tmp_path, own_tables, tables, message) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(tables))
    before = launches.families()
    with pytest.raises(ValueError, match=f"launch table {path}: .*{message}.*tritonmoe tune"):
        own_tables(path)
    assert launches.families() == before


def test_a_missing_table_and_no_json_are_refused(tmp_path, own_tables) -> None:
    with pytest.raises(ValueError, match="No such file or directory"):
        own_tables(tmp_path / "none.json")
    (tmp_path / "own.json").write_text("{")
    with pytest.raises(ValueError, match="no JSON"):
        own_tables(tmp_path / "own.json")


SPACES = [
    search.Space(stage, block_m, torch.bfloat16, *gpu)
    for stage, block_m, gpu in itertools.product(
        ("gate_up", "down"),
        (16, 64, 128),
        (("cuda", 90, 227 << 10), ("cuda", 80, 99 << 10), ("hip", "gfx942", 64 << 10)),
    )
]


@pytest.mark.parametrize("space", SPACES, ids=lambda s: f"{s.stage}-{s.block_m}-{s.shared >> 10}KiB")
def test_a_search_starts_somewhere_and_changes_one_field_at_a_time(space: search.Space) -> None:
    def fields(row: dict) -> dict:
        plain = {name: value for name, value in row.items() if name != "options"}
        return {**dict.fromkeys(space.values, 0), **plain, **row["options"]}

    seeds = space.seeds([])
    assert seeds
    for seed in seeds:
        near = space.neighbours(seed)
        assert len({search.key(row) for row in near}) == len(near) >= 8
        for row in near:
            assert space.valid(row)
            assert len(fields(row).items() ^ fields(seed).items()) == 2


def test_a_search_walks_to_the_fastest_and_measures_nothing_twice() -> None:
    space = search.Space("down", 64, torch.bfloat16, "cuda", 90, 227 << 10)
    measured: list[str] = []

    def measure(rows: list[dict]) -> dict[str, float]:
        measured.extend(map(search.key, rows))
        return {
            search.key(row): abs(row["block_n"] - 128)
            + abs(row["block_k"] - 128)
            + row["options"]["num_stages"]
            for row in rows
            if not row.get("persistent")  # these give wrong results
        }

    found = search.descend(space.seeds([]), space.neighbours, measure, rounds=8)
    assert len(measured) == len(set(measured))
    assert list(found.values()) == sorted(found.values())
    best = json.loads(next(iter(found)))
    assert (best["block_n"], best["block_k"], best["options"]["num_stages"]) == (128, 128, 2)


@pytest.mark.parametrize(
    ("rows", "expected"), [(0.03, [16]), (16, [16, 32]), (64, [16, 32, 64, 128]), (2048, [128])]
)
def test_tile_heights_lie_around_the_rows_of_an_expert(rows: float, expected: list[int]) -> None:
    assert search.heights(rows, torch.bfloat16) == expected


def test_configurations_compile_without_a_gpu_and_bad_ones_say_why(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    base = launches.shipped(torch.bfloat16, "hopper")[0][0]
    row = {"block_n": 64, "block_k": 64, "group_m": 8, "options": {"num_warps": 4, "num_stages": 3}}
    bad = {**row, "options": {"num_warps": 3, "num_stages": 3}}
    jobs = [
        precompile.Job(
            "down",
            dataclasses.replace(base, down=search.tile_of(each, 16)),
            SMALL,
            torch.bfloat16,
            4,
        )
        for each in (row, bad)
    ]
    with precompile.Pool(GPUTarget("cuda", 90, 32), workers=1) as pool:
        right, wrong = pool.compile(jobs)
    assert right.error == ""
    assert right.shared >= 2 * 2 * 64 * (16 + 64)  # at least two stages of both operands
    assert "num_warps" in wrong.error
