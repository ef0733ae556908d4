"""Each fault of a table is reported for what it is, at its line; its clean twin runs in silence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import triton

from conformance.gfx942 import EmulationError, Finding, gfx942, run
from conformance.gfx942.tests import faults
from conformance.gfx942.tests.faults import BLOCK, COLUMNS, Edit, Fault, Launch, arange, fresh, launch

I32, BF16, U8 = torch.int32, torch.bfloat16, torch.int8
OUTSIDE_READ, OUTSIDE_WRITE = (
    "a read of 4 bytes outside of every tensor",
    "a write of 4 bytes outside of every tensor",
)
READ_RACE = "a read of LDS bytes that another wavefront wrote since the last barrier"
POISON = "a value from poisoned memory is stored"
RACE = "two wavefronts store different values to one address"
SQUARE = dict(M=64, N=64, K=64)
ELSEWHERE = arange(BLOCK)
UPTO, BEHIND = torch.arange(BLOCK, dtype=I32), torch.arange(BLOCK, dtype=I32) + 1


def rows(count: int, **arguments: object) -> Launch:
    given = dict(x=arange(8, COLUMNS), out=fresh(9, COLUMNS), stride=COLUMNS, out_stride=COLUMNS)
    return launch(faults.copy_rows, count, **given | arguments, COLUMNS=COLUMNS)


def tail(load: bool = True, store: bool = True, length: int = 1000, out: int = 1000) -> Launch:
    return launch(
        faults.copy_tail,
        4,
        x=arange(length),
        out=fresh(out),
        count=1000,
        MASK_LOAD=load,
        MASK_STORE=store,
        BLOCK=BLOCK,
    )


def strided(row: int, column: int) -> Launch:
    return launch(
        faults.transpose,
        1,
        x=arange(16, 64),
        out=fresh(64, 16),
        stride_row=row,
        stride_column=column,
        HEIGHT=16,
        WIDTH=64,
    )


def far(wide: bool) -> Launch:
    return launch(
        faults.far_row,
        1,
        x=faults.huge,
        out=fresh(BLOCK, dtype=U8),
        row=2**15,
        stride=2**16,
        WIDE=wide,
        BLOCK=BLOCK,
    )


def indexed(kernel: object, index: torch.Tensor) -> Launch:
    return launch(kernel, 1, x=arange(BLOCK), index=index, out=fresh(BLOCK), BLOCK=BLOCK)


def counted(index: torch.Tensor) -> Launch:
    return launch(faults.counts, 1, index=index, out=fresh(BLOCK, dtype=I32), BLOCK=BLOCK)


def tiles(kernel: object, rows: int, **arguments: object) -> Launch:
    given = dict(x=arange(12, 64), out=fresh(16, 64), HEIGHT=16, WIDTH=64)
    return launch(kernel, 1, **given, rows=rows, **arguments)


def chosen(choose: bool) -> Launch:
    return launch(
        faults.chosen,
        1,
        x=faults.poisoned(BLOCK, behind=102),
        out=fresh(BLOCK),
        count=102,
        CHOOSE=choose,
        BLOCK=BLOCK,
    )


def sums(count: int, columns: int = BLOCK) -> Launch:
    return launch(
        faults.row_sums, 2, x=faults.poisoned(2, BLOCK, behind=102), out=fresh(2), count=count, BLOCK=columns
    )


def spread(mask: bool) -> Launch:
    """The second half of the rows is poison."""

    def make() -> torch.Tensor:
        return faults.poisoned(1, 16 * 64, behind=8 * 64)().reshape(16, 64)

    return launch(faults.spread, 1, x=make, out=fresh(16), MASK=mask, HEIGHT=16, WIDTH=64)


def product(k: int, rows: int = 64, **arguments: object) -> Launch:
    """60 columns of x hold numbers, the others poison."""
    given = dict(
        x=faults.poisoned(64, 64, behind=60, dtype=BF16), y=arange(64, 64, dtype=BF16), out=fresh(64, 64)
    )
    return launch(faults.product, 1, **given | arguments, k=k, rows=rows, **SQUARE)


def poisoned_rows(rows: int) -> Launch:
    """48 rows of x hold numbers, the others poison."""

    def make() -> torch.Tensor:
        return faults.poisoned(1, 64 * 64, behind=48 * 64, dtype=BF16)().reshape(64, 64)

    return product(64, rows, x=make)


PRODUCT, SUMS = product(60), sums(102)
FAULTS = [
    Fault("load of a row too many", OUTSIDE_READ, "row load", rows(8), rows(9)),
    Fault(
        "store of a row too many",
        OUTSIDE_WRITE,
        "row store",
        rows(8),
        rows(9, x=arange(9, COLUMNS), out=fresh(8, COLUMNS)),
    ),
    Fault("store behind by one element", OUTSIDE_WRITE, "tail store", tail(), tail(out=999)),
    Fault(
        "load by 1 before the first",
        "a read at a negative offset",
        "shifted",
        *(
            launch(faults.copy_shifted, 1, x=arange(BLOCK), out=fresh(BLOCK), shift=shift, BLOCK=BLOCK)
            for shift in (0, -1)
        ),
    ),
    Fault("no mask on a tail's load", OUTSIDE_READ, "tail load", tail(), tail(load=False)),
    Fault("no mask on a tail's store", OUTSIDE_WRITE, "tail store", tail(), tail(store=False, length=1024)),
    Fault("strides swapped", OUTSIDE_READ.replace("4", "16"), "strides", strided(64, 1), strided(1, 64)),
    Fault("row stride too large", OUTSIDE_READ, "row load", rows(8), rows(8, stride=COLUMNS + 16)),
    Fault(
        "offset beyond 32 bits", "a read of 1 bytes outside of every tensor", "far row", far(True), far(False)
    ),
    Fault(
        "address of no argument",
        OUTSIDE_READ,
        "address",
        launch(
            faults.from_address_of,
            1,
            x=ELSEWHERE,
            address=ELSEWHERE.data_ptr(),
            out=fresh(BLOCK),
            BLOCK=BLOCK,
        ),
        launch(faults.from_address, 1, address=ELSEWHERE.data_ptr(), out=fresh(BLOCK), BLOCK=BLOCK),
    ),
    Fault(
        "index of a load too large by 1",
        OUTSIDE_READ,
        "gather",
        indexed(faults.gather, UPTO),
        indexed(faults.gather, BEHIND),
    ),
    Fault(
        "index of a store too large by 1",
        OUTSIDE_WRITE,
        "scatter",
        indexed(faults.scatter, UPTO),
        indexed(faults.scatter, BEHIND),
    ),
    Fault(
        "atomic behind by one element", "outside of every tensor", "atomic", counted(UPTO), counted(BEHIND)
    ),
    Fault(
        "block without boundary check",
        OUTSIDE_READ.replace("4", "16"),
        "block",
        tiles(faults.block, 12, CHECK=(0,)),
        tiles(faults.block, 12, CHECK=()),
        until=(3, 9),
    ),
    Fault(
        "descriptor of too many rows",
        OUTSIDE_READ.replace("4", "16"),
        "descriptor",
        tiles(faults.described, 12),
        tiles(faults.described, 16),
    ),
    Fault("poison is stored", POISON, "chosen", chosen(True), chosen(False)),
    Fault("poison in a sum across wavefronts", POISON, "sum store", SUMS, sums(103)),
    Fault("poison in a row's sum", POISON, "spread", spread(True), spread(False)),
    Fault("poison in a product's inner tail", POISON, "product", PRODUCT, product(64)),
    Fault("poison in a product's rows", POISON, "product", poisoned_rows(48), poisoned_rows(49)),
    Fault(
        "atomic on poison",
        "an atomic changes poisoned memory",
        "accumulate",
        *(
            launch(faults.accumulate, 1, x=arange(BLOCK), out=out, BLOCK=BLOCK)
            for out in (fresh(BLOCK), faults.all_poisoned(BLOCK))
        ),
    ),
    Fault(
        "programs store to one place",
        RACE,
        "programs",
        *(
            launch(faults.own_or_shared, 4, out=fresh(5 * BLOCK, dtype=I32), OWN=own, BLOCK=BLOCK)
            for own in (BLOCK, BLOCK - 1)
        ),
    ),
    Fault(
        "wavefronts store to one place",
        RACE,
        "folded",
        *(
            launch(faults.folded, 1, x=arange(BLOCK), out=fresh(BLOCK), LENGTH=length, BLOCK=BLOCK)
            for length in (BLOCK, BLOCK // 2)
        ),
    ),
    Fault(
        "lanes store to one place",
        "lanes of one store have different values for one address",
        "folded",
        *(
            launch(faults.folded, 1, x=arange(64), out=fresh(64), LENGTH=length, BLOCK=64, num_warps=1)
            for length in (64, 32)
        ),
    ),
    Fault(
        "programs store out of turn",
        RACE,
        "turns",
        *(
            launch(faults.turns, 4, out=fresh(64, dtype=I32), lock=fresh(1, dtype=I32), WAIT=wait, BLOCK=64)
            for wait in (True, False)
        ),
    ),
    Fault(
        "no barrier between a store and another wavefront's",
        RACE,
        "twice",
        launch(faults.twice, 1, x=arange(BLOCK), out=fresh(BLOCK), BLOCK=BLOCK),
        edit=faults.drop("s_barrier"),
    ),
    Fault(
        "no barrier before a product's operand is read",
        READ_RACE,
        "left",
        PRODUCT,
        edit=faults.drop("s_barrier"),
    ),
    Fault(
        "no barrier before LDS is used again",
        "a write to LDS bytes that another wavefront read",
        "right",
        PRODUCT,
        edit=faults.drop("s_barrier", 1),
    ),
    Fault("no barrier in a sum", READ_RACE, "sum", SUMS, edit=faults.drop("s_barrier")),
    Fault(
        "LDS not written",
        "a read of LDS bytes that were never written",
        "sum",
        SUMS,
        edit=faults.drop("ds_write_b32 .*"),
    ),
    Fault(
        "LDS behind its end",
        "bytes of LDS",
        "left",
        PRODUCT,
        edit=faults.replace(r"(ds_read_b64 .*)", r"\1 offset:32768"),
    ),
    Fault(
        "no wait for a load",
        "a register is used before an s_waitcnt",
        "row store",
        rows(8),
        edit=faults.drop(r"s_waitcnt vmcnt\(0\)"),
    ),
    Fault(
        "no wait for LDS",
        "a register is used before an s_waitcnt",
        "product",
        PRODUCT,
        edit=faults.drop(r"s_waitcnt lgkmcnt\(0\)(?=\n\tv_mfma)", -1),
    ),
    Fault(
        "barrier that one wavefront passes by",
        "a barrier that some wavefronts of the workgroup never reach",
        "together",
        launch(faults.together, 1, x=arange(BLOCK), out=fresh(BLOCK), BLOCK=BLOCK),
        edit=faults.skip_by_first_wavefront("s_barrier", -1),
    ),
]


@pytest.mark.parametrize(
    "fault", [each for each in FAULTS if each.fits(triton.__version__)], ids=lambda each: each.name
)
@pytest.mark.filterwarnings("ignore:tl.make_block_ptr is deprecated")
def test_fault_is_reported_at_its_line_and_its_clean_twin_is_silent(fault: Fault) -> None:
    with gfx942():
        fault.clean()
    findings = findings_of(fault.faulty or fault.clean, fault.edit)
    place = (Path(faults.__file__).name, faults.line_of(fault.line))
    assert findings
    for each in findings:
        assert fault.says in each.what, each
        assert place in lines(each), each


def test_kernel_without_an_end_is_stopped_and_told_where() -> None:
    endless = faults.replace(r"s_endpgm", r".LENDLESS:\n\ts_branch .LENDLESS")
    with gfx942(edit=endless, limit=2000), pytest.raises(run.Hang, match=r"copy_rows .*faults\.py"):
        rows(8)()


def test_a_register_loaded_without_a_wait_holds_its_old_value() -> None:
    out = torch.zeros(9, COLUMNS)
    with gfx942(raising=False, edit=faults.drop(r"s_waitcnt vmcnt\(0\)")):
        rows(8, out=out)()
    assert not torch.equal(out[:8], arange(8, COLUMNS))


def test_addresses_need_no_alignment() -> None:
    x = arange(BLOCK + 1)
    shifted = torch.frombuffer(bytearray(b"\0" + x.numpy().tobytes()), dtype=torch.uint8)
    out = torch.zeros(BLOCK)
    with gfx942():
        launch(faults.from_address_of, 1, x=shifted, address=shifted.data_ptr() + 1, out=out, BLOCK=BLOCK)()
    assert torch.equal(out, x[:BLOCK])


def test_an_error_names_kernel_line_instruction_and_lane() -> None:
    with gfx942(), pytest.raises(EmulationError) as raised:
        rows(9)()
    told = str(raised.value)
    assert f"copy_rows: {OUTSIDE_READ}: 0 bytes behind x\n" in told
    assert f"faults.py:{faults.line_of('row load')}\n" in told
    assert re.search(
        r"by `buffer_load_dword .*` in workgroup \(8, 0, 0\), wavefront 0, lane 0, address 0x", told
    )


def findings_of(faulty: Launch, edit: Edit | None = None) -> list[Finding]:
    with gfx942(raising=False, edit=edit) as findings:
        faulty()
    return findings


def lines(finding: Finding) -> list[tuple[str, int]]:
    return [(Path(file).name, line) for file, line in finding.lines]
