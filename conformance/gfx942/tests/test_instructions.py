"""Every opcode gives what the MI300 ISA manual says, by values worked out by hand."""

import pytest

from conformance.gfx942 import opcodes
from conformance.gfx942.code import compile_program
from conformance.gfx942.program import Program, ProgramError, _Reader

from .instructions import FAMILIES
from .instructions.row import Row

ROWS = [pytest.param(row, id=f"{family}: {row.name}") for family, rows in FAMILIES.items() for row in rows]


@pytest.mark.parametrize("row", ROWS)
def test_instruction_changes_what_the_manual_says_and_nothing_else(row: Row) -> None:
    row.check()


def test_every_opcode_has_a_row() -> None:
    with_rows = {opcode for rows in FAMILIES.values() for row in rows for opcode in row.opcodes}
    assert not opcodes.implemented() - with_rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("v_frobnicate_b32 v0, v1", "v_frobnicate_b32"),
        ("v_add_f32_e64 v0, v1, v2 mul:2", "an output modifier does nothing where denormals are kept"),
        ("v_add_f32_e64 v0, v1, v2 div:2", "an output modifier"),
        ("v_add_f32_e64 v0, v1, v2 wobble:1", "wobble"),
        ("v_mul_lo_u32 v0, v1, v2 clamp", "clamp of the integer result"),
        ("v_cmp_lt_f32_e64 s[0:1], v1, v2 clamp", "modifiers"),
        ("v_add_u32_e64 v0, v1, v2 op_sel:[1,0,0]", "op_sel of source 1"),
        ("v_mad_u64_u32 v[0:1], s[0:1], v2, v3, v[4:5] clamp", "clamp"),
        ("v_pk_add_f32 v[0:1], v[2:3], 1.0", "high half of a constant"),
        ("v_pk_add_u16 v0, v1, v2 neg_lo:[1,0]", "signs"),
        ("v_pk_mul_lo_u16 v0, v1, v2 clamp", "clamp of the integer result"),
        ("v_pk_mov_b32 v[0:1], 1, v[2:3] op_sel:[1,0]", "high half of a constant"),
        ("v_mov_b32_dpp v0, s1 row_shr:1 row_mask:0xf bank_mask:0xf", "must be a vector register"),
        ("v_mov_b32_dpp v0, v1 row_share:1 row_mask:0xf bank_mask:0xf", "row_share"),
        ("v_mov_b32_e32 v0, src_shared_base", "src_shared_base"),
        ("v_add_u32_e32 v0, v1", "1 sources; expected 2"),
        ("s_add_u32 s0, s1, s2 clamp", "clamp"),
        ("s_load_dword s0, s[2:3], 0x0 soft:1", "soft"),
        ("ds_read_b32 v0, v1 gds", "gds"),
        ("ds_swizzle_b32 v0, v1 offset:0xe000", "rotation"),
        ("ds_wrxchg2_rtn_b32 v[0:1], v2, v3, v4", "ds_wrxchg2_rtn_b32"),
        ("buffer_load_dword v0, v1, s[4:7], 0 idxen", "idxen"),
        ("buffer_load_dword v1, s[4:7], 0 offen lds", "lds"),
        ("buffer_load_format_x v0, v1, s[4:7], 0 offen", "buffer_load_format_x"),
        ("s_setreg_imm32_b32 hwreg(HW_REG_MODE, 4, 2), 3", "s_setreg_imm32_b32"),
    ],
)  # fmt: skip
def test_what_is_not_implemented_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(ProgramError) as raised:
        Row(text).check()
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("float_denorm_mode_32", 0),
        ("float_denorm_mode_16_64", 0),
        ("float_round_mode_32", 3),
        ("ieee_mode", 0),
    ],
)
def test_a_mode_that_opcodes_do_not_follow_is_refused(name: str, value: int) -> None:
    with pytest.raises(ProgramError, match=name):
        compile_program(Program("row", "gfx942", [], {}, {name: value}, []))


def test_the_small_floats_of_another_chip_are_refused() -> None:
    reader = _Reader("row")
    reader.line("v_cvt_pk_fp8_f32 v0, v1, v2")
    compile_program(Program("row", "gfx942", reader.instructions, {}, {}, []))
    with pytest.raises(ProgramError, match="8-bit formats of gfx950"):
        compile_program(Program("row", "gfx950", reader.instructions, {}, {}, []))
