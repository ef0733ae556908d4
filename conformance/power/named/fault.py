"""A fault of a real project, as an edit of this layer."""

from typing import NamedTuple

PASSED = "passed 162 of 162 of the published MoE tests on an H100 when put into their kernels"
IN_ANOTHER = f"{PASSED}: here in another kernel"
CUT = "({}.to(tl.int32, bitcast=True) & -65536).to(tl.float32, bitcast=True)"  # to bfloat16, towards zero


class Fault(NamedTuple):
    """`old` must occur exactly once in `file`; `new` takes its place. `models`: where it happened."""

    name: str
    models: str
    wrong: str
    file: str
    old: str
    new: str
