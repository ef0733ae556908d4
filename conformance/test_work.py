"""What is launched: as many programs as there is work and no more, with the parameters that sizes ask for.

No result shows any of this: a program too many does nothing, and another order of the same work only takes
longer.
"""

import dataclasses
from collections.abc import Callable
from math import ceil
from typing import Any, NamedTuple

import pytest
import torch
import triton
import triton.language as tl

import tritonmoe
from conformance.test_tiles import FLAGS, launch_with
from tritonmoe import schedule, tiles
from tritonmoe.dispatch import Calls
from tritonmoe.launches import Launch, Tile
from tritonmoe.tiles import tile_total

Values = dict[str, Any]


class Launched(NamedTuple):
    """A launch of a kernel: its grid, and its arguments and meta-parameters by name."""

    kernel: str
    grid: tuple[int, int, int]
    given: Values


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[Launched]:
    """Every launch from now on."""
    return watch(monkeypatch, Calls.launch)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Launched]:
    """Every launch from now on, of which none is made."""
    return watch(monkeypatch, lambda *_: None)


def watch(monkeypatch: pytest.MonkeyPatch, launch: Callable[..., None]) -> list[Launched]:
    made: list[Launched] = []

    def watched(calls: Calls, kernel: Any, grid: Any, arguments: Any, meta: Callable[[], Values], name: str):
        given = {**dict(zip(kernel.arg_names, arguments, strict=False)), **meta()}
        made.append(Launched(kernel.fn.__name__, tuple(grid), given))
        launch(calls, kernel, grid, arguments, meta, name)

    monkeypatch.setattr(Calls, "launch", watched)
    return made


def blocks(values: Values, size: str, block: str) -> int:
    return ceil(values[size] / values[block])


GRIDS: dict[str, Callable[[Values], tuple[int, ...]]] = {
    "project_kernel": lambda v: (blocks(v, "tokens", "BLOCK_M"), blocks(v, "rows", "BLOCK_N")),
    "choose_kernel": lambda v: (blocks(v, "tokens", "BLOCK_T"),),
    "few_kernel": lambda v: (1 + blocks(v, "slots", "MINE"),),
    "count_kernel": lambda v: (blocks(v, "slots", "share"),),
    "place_kernel": lambda v: (v["blocks"],),
    "pack_kernel": lambda v: (ceil(len(v["packed"]) / v["ROWS"]), blocks(v, "hidden", "BLOCK")),
    "gate_up_kernel": lambda v: (v["max_tiles"] * blocks(v, "intermediate", "BLOCK_N"),),
    "down_kernel": lambda v: (v["max_tiles"] * blocks(v, "hidden", "BLOCK_N"),),
    "combine_kernel": lambda v: (len(v["y"]), blocks(v, "hidden", "BLOCK")),
}
WRITTEN = "activation_tiles", "partial_tiles"
SHAPES = [(3, 64, 48), (70, 80, 64)]  # tokens, hidden, intermediate: whole blocks of 32, and not


@pytest.mark.parametrize(("tokens", "hidden", "intermediate"), SHAPES)
@pytest.mark.parametrize("flags", FLAGS)
def test_no_launch_has_programs_without_work(
    flags: str, tokens: int, hidden: int, intermediate: int, launched: list[Launched], device: torch.device
) -> None:
    """Of a schedule the host knows the most tiles that it can have; the shared expert has all rows."""
    launch = small_blocks(launch_with(flags, 16, torch.bfloat16))
    run_layer(tokens, hidden, intermediate, launch, device)
    there = {each.kernel for each in launched}
    assert there >= set(GRIDS) - {"pack_kernel", "few_kernel", "count_kernel", "place_kernel"}
    for each in launched:
        expected = GRIDS[each.kernel](each.given)
        if each.given.get("PERSISTENT"):
            expected = (min(*expected, tiles.multiprocessors()),)
        assert each.grid == (*expected, 1, 1)[:3], each.kernel
        if "max_tiles" in each.given:
            assert each.given["max_tiles"] == most_tiles(each.given), each.kernel


@pytest.mark.parametrize(("tokens", "hidden", "intermediate"), SHAPES)
@pytest.mark.parametrize("flags", FLAGS)
def test_kernels_are_compiled_for_what_their_sizes_need(
    flags: str, tokens: int, hidden: int, intermediate: int, launched: list[Launched], device: torch.device
) -> None:
    """No masks where a sum is of whole blocks; rows that lie in order are read so, whatever top_k is; nothing
    rides along in one dense expert. Rows are copied into order for descriptors alone, which also write where
    all tiles are of one height.
    """
    asked = FLAGS[flags]
    run_layer(tokens, hidden, intermediate, small_blocks(launch_with(flags, 16, torch.bfloat16)), device)
    depths = {"project_kernel": "hidden", "gate_up_kernel": "hidden", "down_kernel": "intermediate"}
    for each in launched:
        given = each.given
        if each.kernel in depths:
            assert given["EVEN_K"] == (given[depths[each.kernel]] % given["BLOCK_K"] == 0)
        if each.kernel == "gate_up_kernel":
            assert given["IN_ORDER"] == (given["DENSE"] or bool(asked.get("packed")))
            assert given["TOP_K"] == (1 if given["IN_ORDER"] else 2)
            if given["WIDE"]:
                experts = len(given["w_gate_up"])
                assert list(given["w_tiles"].shape) == [experts, 2, intermediate, hidden]
        if "DENSE" in given:
            dense, wide = given["DENSE"], bool(asked.get("wide"))
            assert given["TAIL"] == (0 if dense else 16)
            assert (given["WIDE"], given["SWAPPED"]) == (wide, not wide and bool(asked.get("swapped")))
            assert (given["SHORT"], given["PERSISTENT"]) == (asked.get("short", 0), "persistent" in asked)
            assert (given["WHEN"], given["PRECISION"]) == (2, "ieee")
            assert (given["w_tiles"] is not None) == wide
            by_descriptor = wide and dense and given["PERSISTENT"] and not given["SHORT"]
            assert [given[made] is not None for made in WRITTEN if made in given] == [by_descriptor]
    copies = [each for each in launched if each.kernel == "pack_kernel"]
    assert len(copies) == bool(asked.get("packed"))


@pytest.mark.parametrize("slots", [1, 255, 256, 257, 4096, 65536, 1_000_001])
@pytest.mark.parametrize("experts_pad", [64, 256, 1024, 2**17])
@pytest.mark.parametrize("chunk", [64, 256])
def test_a_large_batch_is_split_as_far_as_it_pays(slots: int, experts_pad: int, chunk: int) -> None:
    """Whole chunks, the fewest that keep to 128 programs, or to as many as have 65536 counts in all."""
    most = max(1, min(128, 65536 // experts_pad))
    share = schedule._share(slots, experts_pad, chunk)
    assert share % chunk == 0
    assert ceil(slots / share) <= most
    assert share == chunk or ceil(slots / (share - chunk)) > most


@pytest.mark.parametrize("flags", FLAGS)
def test_nothing_is_launched_for_no_tokens(flags: str, asked: list[Launched], device: torch.device) -> None:
    run_layer(0, 64, 48, launch_with(flags, 16, torch.bfloat16, skewed=True), device)
    assert asked == []


@pytest.mark.parametrize("flags", ["plain", "wide and packed"])
def test_each_kind_of_schedule_has_its_launch_and_a_dense_expert_one(
    flags: str, asked: list[Launched], device: torch.device
) -> None:
    run_layer(3, 64, 48, launch_with(flags, 16, torch.bfloat16, skewed=True), device)
    products = [each.given for each in asked if "DENSE" in each.given]
    assert len(products) == 6
    for dense in (False, True):
        kinds = [(each["WHEN"], each["BLOCK_M"], each["TAIL"]) for each in products if each["DENSE"] == dense]
        assert kinds == ([(2, 64, 0)] * 2 if dense else [(0, 64, 16), (1, 32, 0)] * 2)
    assert [each.given["WHEN"] for each in asked if each.kernel == "pack_kernel"] == (
        [2] if "packed" in flags else []
    )


@pytest.mark.parametrize(
    ("even", "skewed", "when"), [(False, True, [1]), (True, False, [0]), (True, True, [2])]
)
def test_rows_are_copied_once_for_the_launches_that_read_the_copy(
    even: bool, skewed: bool, when: list[int], asked: list[Launched], device: torch.device
) -> None:
    launch = launch_with("wide and packed", 16, torch.bfloat16, skewed=True)
    other = dataclasses.replace(
        launch.skewed, gate_up=dataclasses.replace(launch.skewed.gate_up, packed=skewed)
    )
    launch = dataclasses.replace(
        launch, gate_up=dataclasses.replace(launch.gate_up, packed=even), skewed=other
    )
    run_layer(3, 64, 48, launch, device)
    [copy] = [each.given for each in asked if each.kernel == "pack_kernel"]
    assert [copy["WHEN"]] == when
    read = [each.given["x"] is copy["packed"] for each in asked if each.kernel == "gate_up_kernel"]
    assert read == [False, even, skewed]


@pytest.mark.parametrize("flags", FLAGS)
def test_one_token_takes_no_schedule_unless_tiles_are_read_by_descriptors(
    flags: str, launched: list[Launched], device: torch.device
) -> None:
    """Each of its slots is a tile; the first products are of the experts, the others of the shared one."""
    run_layer(1, 64, 48, launch_with(flags, 16, torch.bfloat16, skewed=True), device)
    sorts = [
        each.kernel for each in launched if each.kernel in ("few_kernel", "count_kernel", "place_kernel")
    ]
    products = [each.given for each in launched if "DENSE" in each.given and each.given["rows"] == 2]
    if "wide" in FLAGS[flags]:
        assert sorts
        assert not any(given["DENSE"] or given["EACH"] for given in products)
    else:
        assert not sorts
        assert len(products) == 2
        for given in products:
            assert given["DENSE"]
            assert given["EACH"]
            assert (given["max_tiles"], given["experts"]) == (2, 8)
            assert (given["WHEN"], given["TAIL"], given["MIXED"], given["offsets"]) == (2, 0, 0, None)
            assert given.get("stride_xt", 0) == 0


@pytest.mark.parametrize(("slots", "one"), [(1, True), (128, True), (129, False), (20000, False)])
def test_a_schedule_of_few_slots_takes_one_launch(
    slots: int, one: bool, asked: list[Launched], device: torch.device
) -> None:
    """Of up to 128 here; what a program of two launches takes goes by the number of slots."""
    ids = torch.zeros(slots, 1, dtype=torch.int32, device=device)
    schedule.schedule(ids, 8, small_blocks(launch_with("plain", 0, torch.bfloat16)))
    kernels = ["few_kernel"] if one else ["count_kernel", "place_kernel"]
    assert [each.kernel for each in asked] == kernels
    for each in asked:
        assert each.grid == (*GRIDS[each.kernel](each.given), 1, 1)
        assert each.given.get("share") == (None if one else schedule._share(slots, 64, 128))
        assert each.given.get("blocks", each.grid[0]) == each.grid[0]


def test_a_program_places_its_own_slots_and_no_others(launched: list[Launched], device: torch.device) -> None:
    """The first of five, launched once more without the rest."""
    ids = (torch.arange(600, device=device, dtype=torch.int32) * 3 % 8).view(300, 2)
    schedule.schedule(ids, 8, small_blocks(launch_with("plain", 0, torch.bfloat16)))
    [given] = [each.given for each in launched if each.kernel == "place_kernel"]
    assert (given["share"], given["blocks"]) == (128, 5)
    placed, places = given["sorted_slots"].fill_(-1), given["places"].fill_(-1)
    schedule.place_kernel[(1,)](**given)
    assert placed[placed >= 0].sort().values.tolist() == list(range(128))
    assert (places >= 0).nonzero().flatten().tolist() == list(range(128))


MOST_TILES = [  # slots, experts, lowest tile of skewed schedules, tiles
    (3, 8, None, 3),
    (8, 8, None, 8),
    (63, 8, None, 8),
    (64, 8, None, 9),
    (1000, 8, None, 23),
    (1000, 8, 128, 23),
    (1000, 8, 16, 70),
]


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(("slots", "experts", "skewed", "tiles"), MOST_TILES)
def test_there_is_room_for_the_most_tiles_that_a_routing_can_make(
    slots: int, experts: int, skewed: int | None, tiles: int, device: torch.device
) -> None:
    """Of 64 rows, or of whichever height is lower: whole ones, and one for each expert that has rows."""
    launch = launch_with("plain", 0, torch.bfloat16)
    if skewed:
        launch = dataclasses.replace(launch, skewed=dataclasses.replace(launch, block_m=skewed))
    made = schedule.schedule(torch.zeros(slots, 1, dtype=torch.int32, device=device), experts, launch)
    assert made.max_tiles == len(made.tile_expert) == len(made.tile_row) == tiles


PERSISTENT = [(0, 7, 7), (1, 3, 3), (1, 4, 4), (1, 900, 4), (2, 7, 7), (2, 900, 8)]


@pytest.mark.parametrize(("persistent", "work", "expected"), PERSISTENT)
def test_persistent_programs_are_as_many_as_run_at_once(
    persistent: int, work: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU of 4 multiprocessors."""
    monkeypatch.setattr(tiles, "multiprocessors", lambda: 4)
    tile = Tile(64, 32, 32, 1, {}, persistent=persistent)
    assert tiles.programs(tile, work) == (expected, 1, 1)


def run_layer(tokens: int, hidden: int, intermediate: int, launch: Launch, device: torch.device) -> None:
    """With a shared expert, 8 experts, and 2 of them for each token."""
    config = tritonmoe.MoEConfig(
        experts=8, top_k=2, hidden=hidden, intermediate=intermediate, shared_intermediate=intermediate
    )
    shapes = [(tokens, hidden), (8, hidden), (8, 2 * intermediate, hidden), (8, hidden, intermediate)]
    shapes += [(2 * intermediate, hidden), (hidden, intermediate)]
    *tensors, both, back = (torch.zeros(shape, dtype=torch.bfloat16, device=device) for shape in shapes)
    tritonmoe.fused_moe(*tensors, config, shared=tritonmoe.SharedExperts(both, back), launch=launch)


def small_blocks(launch: Launch) -> Launch:
    """Vectors of 32 elements, two launches for a schedule of more than 128 slots, and narrow router tiles."""
    less = {name: dataclasses.replace(getattr(launch, name), lanes=32) for name in ("choose", "sum")}
    project = dataclasses.replace(launch.project, block_m=16, block_n=16, block_k=32)
    sort = dataclasses.replace(launch.sort, lanes=128)
    return dataclasses.replace(launch, **less, sort=sort, project=project)


def most_tiles(given: Values) -> int:
    """A slot a tile while experts last; then whole tiles. Or those of one dense expert's rows."""
    rows, height = given["rows"], given["BLOCK_M"]
    return ceil(rows / height) if given["DENSE"] else rows // height + min(8, rows)


@triton.jit
def totals_kernel(totals, tile_count, max_tiles, DENSE: tl.constexpr, WHEN: tl.constexpr):
    tl.store(totals, tile_total(tile_count, max_tiles, DENSE, WHEN))


TOTALS = [  # whether the schedule is skewed, a dense expert, kind of launch, tiles
    (0, False, 0, 7),
    (0, False, 1, 0),
    (0, False, 2, 7),
    (1, False, 0, 0),
    (1, False, 1, 7),
    (1, False, 2, 7),
    (0, True, 1, 5),
    (1, True, 0, 5),
    (1, True, 2, 5),
]


@pytest.mark.parametrize(("skewed", "dense", "when", "expected"), TOTALS)
def test_a_launch_for_the_other_kind_of_schedule_finds_no_tiles(
    skewed: int, dense: bool, when: int, expected: int, device: torch.device
) -> None:
    """Of 7 on the schedule's list, 3 of them busy; a dense expert has the host's 5."""
    total, counts = (
        torch.tensor(values, dtype=torch.int32, device=device) for values in ([-1], [7, 3, skewed])
    )
    totals_kernel[(1,)](total, counts, 5, dense, when)
    assert total.item() == expected
