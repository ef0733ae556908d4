"""The weighted sum over experts."""

from .fault import CUT, PASSED, Fault

FMA = "acc = tl.fma(tl.where(served, weight, 0.0), value, acc)"
STORE_Y = "tl.store(y + token * hidden + h, acc.to(y.dtype.element_ty), mask=mask)"
SERVED = "served = mask & (expert >= 0) & (expert < experts)"

FAULTS = (
    Fault(
        "zeros",
        "KernelBench #165, JAXBench #50: kernels that write nothing were accepted",
        "the output is zeros",
        "combine.py",
        STORE_Y,
        STORE_Y.replace("acc.to", "(acc * 0.0).to"),
    ),
    Fault(
        "weights-off",
        PASSED,
        "weights are 0.4% too large",
        "combine.py",
        "tl.where(served, weight, 0.0)",
        "tl.where(served, weight * 1.004, 0.0)",
    ),
    Fault(
        "outputs-off",
        PASSED,
        "outputs are 0.1% too large",
        "combine.py",
        STORE_Y,
        STORE_Y.replace("acc.to", "(acc * 1.001).to"),
    ),
    Fault(
        "output-cut",
        "aiter #5151: a residual shrank by 9% after 72 calls",
        "the output is cut to bfloat16, not rounded",
        "combine.py",
        STORE_Y,
        STORE_Y.replace("acc.to", f"{CUT.format('acc')}.to"),
    ),
    Fault(
        "sum-in-16-bits",
        "triton #7011, #6139: 16-bit atomics sum experts in the output's dtype",
        "the running sum is rounded to the output's dtype after each expert",
        "combine.py",
        FMA,
        f"{FMA}.to(y.dtype.element_ty).to(tl.float32)",
    ),
    Fault(
        "weight-twice",
        "vllm #43694: router weights applied on the input and again on the output",
        "each routing weight counts twice",
        "combine.py",
        "tl.where(served, weight, 0.0)",
        "tl.where(served, weight * weight, 0.0)",
    ),
    Fault(
        "weight-not-at-all",
        "vllm-xpu-kernels #66: expert weights wrong where top-k is above 1",
        "experts are summed without their weights",
        "combine.py",
        "tl.where(served, weight, 0.0)",
        "tl.where(served, 1.0, 0.0)",
    ),
    Fault(
        "last-choice-dropped",
        "intel-xpu-backend #7813: 89 of 4224 elements wrong",
        "the last of a token's experts does not count",
        "combine.py",
        "tl.static_range(TOP_K)",
        "tl.static_range(TOP_K - 1)",
    ),
    Fault(
        "shared-expert-dropped",
        "vllm #51632: shared experts dropped, 134 of 512 wrong",
        "shared experts without a gate do not count",
        "combine.py",
        "            acc += extra",
        "            acc += extra * 0.0",
    ),
    Fault(
        "shared-gate-ignored",
        "lmdeploy #3491, NousResearch/torchtitan #36: the shared expert's gate loaded but not used",
        "shared experts count fully whatever their gate says",
        "combine.py",
        "tl.fma(scale + tl.zeros((BLOCK,), tl.float32), extra, acc)",
        "acc + extra",
    ),
    Fault(
        "padding-read",
        "vllm #46408: slots of -1, never written, joined the sum",
        "slots with negative ids count",
        "combine.py",
        SERVED,
        "served = mask & (expert < experts)",
    ),
    Fault(
        "beyond-the-last-expert",
        "vllm #50845: ids checked by their sign alone",
        "slots whose id is beyond the last expert count",
        "combine.py",
        SERVED,
        "served = mask & (expert >= 0)",
    ),
    Fault(
        "nan-weight-of-padding",
        "vllm #52380: rows of invalid slots joined the reduction",
        "a skipped slot's weight counts, NaN too",
        "combine.py",
        "tl.where(served, weight, 0.0)",
        "weight",
    ),
    Fault(
        "last-token-dropped",
        "triton #10408: stores to some memory silently lost",
        "the last token's output is never written",
        "combine.py",
        "mask = h < hidden",
        "mask = (h < hidden) & (token + 1 < tl.num_programs(0))",
    ),
)
