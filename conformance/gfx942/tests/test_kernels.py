"""Small kernels, compiled for gfx942 and executed, give what float64 and whole numbers say they must."""

import pytest
import triton

from conformance.gfx942 import Counts, gfx942

from .kernels import THEMES, Case, check

CASES = [
    pytest.param(case, id=f"{theme}: {case.name}")
    for theme, cases in THEMES.items()
    for case in cases
    if case.fits(triton.__version__)
]


@pytest.mark.filterwarnings("ignore:tl.make_block_ptr is deprecated")
@pytest.mark.parametrize("small", CASES)
def test_kernel_gives_what_its_reference_says(small: Case) -> None:
    counts = Counts()
    with gfx942(counts=counts):
        check(small)
    assert counts.launches == 1, "the kernel did not run on the emulator; TRITON_INTERPRET must not be set"
