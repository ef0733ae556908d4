"""Who is timed: our experts, and others' if they can be imported here.

A contender is made for a model's weights, in the layout it wants (a copy of its own if need be, made once and
not timed), then bound to a batch: a call without arguments that returns y [tokens, hidden]. Each takes
routing as ids and weights; what of its way is left out of its time, always in its favour, its note says.
"""

import importlib
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
import triton
import triton.language as tl

from ..layer import fused_experts
from .measure import Call
from .workloads import Batch, Weights

Bind = Callable[[Batch], Call]


class Contender(NamedTuple):
    """`modules`: any one of them must be importable; `dtypes`: that it computes in, as we define them."""

    make: Callable[[Weights], Bind]
    modules: tuple[str, ...]
    dtypes: tuple[torch.dtype, ...]
    note: str


def obstacle(name: str, dtype: torch.dtype) -> str:
    """Why a contender cannot run here; "" if it can."""
    contender = CONTENDERS[name]
    if dtype not in contender.dtypes:
        return f"not in {str(dtype).removeprefix('torch.')}"
    if not any(_importable(module) for module in contender.modules):
        return f"cannot import {' or '.join(contender.modules)}"
    if name == "grouped_mm" and _grouped_mm() is None:
        return f"torch {torch.__version__} has no grouped_mm"
    return ""


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its package is not there
        return False


def _ours(weights: Weights) -> Bind:
    return lambda batch: lambda: fused_experts(batch.x, weights.w_gate_up, weights.w_down, *batch[1:])


def _grouped_mm() -> Callable | None:
    return getattr(torch.nn.functional, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)


def _torch_grouped(weights: Weights) -> Bind:
    """Rows sorted by expert, two grouped products, a weighted sum: the steps of transformers' experts."""
    multiply = _grouped_mm()
    gate_up, down = weights.w_gate_up.transpose(1, 2), weights.w_down.transpose(1, 2)
    boundaries = torch.arange(1, weights.w_down.shape[0] + 1, device=weights.w_down.device, dtype=torch.int32)

    def bind(batch: Batch) -> Call:
        x, ids, scale = batch
        tokens, top_k = ids.shape

        def call() -> torch.Tensor:
            expert, order = ids.flatten().sort(stable=True)
            ends = torch.searchsorted(expert, boundaries, out_int32=True)
            gate, up = multiply(x[order // top_k], gate_up, offs=ends).chunk(2, dim=1)
            out = multiply(torch.nn.functional.silu(gate) * up, down, offs=ends)
            by_slot = torch.empty_like(out)
            by_slot[order] = out * scale.flatten()[order].to(out.dtype)[:, None]
            return by_slot.view(tokens, top_k, -1).sum(dim=1)

        return call

    return bind


def _vllm(weights: Weights) -> Bind:
    """vLLM's own fused_experts; without the package, its kernel in a file vllm_kernel.py on the path."""
    if _importable("vllm"):
        theirs = importlib.import_module("vllm.model_executor.layers.fused_moe").fused_experts
        return lambda batch: (
            lambda: theirs(
                hidden_states=batch.x,
                w1=weights.w_gate_up,
                w2=weights.w_down,
                topk_weights=batch.topk_weights,
                topk_ids=batch.topk_ids,
            )
        )
    return _vllm_kernel(weights)


def _vllm_kernel(weights: Weights) -> Bind:
    module = importlib.import_module("vllm_kernel")
    experts, _, intermediate = weights.w_down.shape
    table = _vllm_table(Path(module.__file__).with_name("vllm_cfg"), experts, intermediate)
    kernel_dtype = {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}[weights.w_down.dtype]

    def bind(batch: Batch) -> Call:
        x, ids, scale = batch
        tokens, top_k = ids.shape
        config = table(tokens)
        height = config["BLOCK_SIZE_M"]
        slots, tile_expert, padded = _aligned(ids, experts, height)
        most = min(len(slots), tokens * top_k * height) if tokens < height else len(slots)
        both = x.new_empty(tokens, top_k, 2 * intermediate)
        activation = x.new_empty(tokens * top_k, intermediate)
        partial = x.new_empty(tokens, top_k, x.shape[1])

        def multiply(a: torch.Tensor, w: torch.Tensor, out: torch.Tensor, weighs: bool, fan: int) -> None:
            tiles = triton.cdiv(most, height) * triton.cdiv(w.shape[1], config["BLOCK_SIZE_N"])
            pointers = (a, w, out, None, None, None, scale, slots, tile_expert, padded)
            sizes = (w.shape[1], w.shape[2], most, tokens * top_k)
            strides = (*a.stride(), w.stride(0), w.stride(2), w.stride(1), *out.stride()[1:], *(0,) * 7)
            module.fused_moe_kernel[(tiles,)](
                *pointers,
                *sizes,
                *strides,
                group_n=0,
                group_k=0,
                naive_block_assignment=False,
                SPLIT_K=1,
                MUL_ROUTED_WEIGHT=weighs,
                top_k=fan,
                compute_type=kernel_dtype,
                use_fp8_w8a8=False,
                use_int8_w8a8=False,
                use_int8_w8a16=False,
                per_channel_quant=False,
                HAS_BIAS=False,
                SWAP_AB=False,
                **config,
            )

        def call() -> torch.Tensor:
            multiply(x, weights.w_gate_up, both, False, top_k)
            blocks = triton.cdiv(intermediate, 1024)
            _silu_product[(tokens * top_k, blocks)](both, activation, intermediate, BLOCK=1024)
            multiply(activation, weights.w_down, partial, True, 1)
            return partial.sum(dim=1)

        return call

    return bind


def _vllm_table(folder: Path, experts: int, intermediate: int) -> Callable[[int], dict[str, int]]:
    """A configuration by tokens: the tuned one nearest for this GPU, or what vLLM takes without one."""
    device = torch.cuda.get_device_name().replace(" ", "_")
    path = folder / f"E={experts},N={intermediate},device_name={device}.json"
    if path.exists():
        tuned = json.loads(path.read_text())
        tuned.pop("triton_version", None)
        return lambda tokens: tuned[min(tuned, key=lambda batch: abs(int(batch) - tokens))]

    def default(tokens: int) -> dict[str, int]:
        heights = ((32, 16), (96, 32), (512, 64))
        few = tokens <= 64
        return dict(
            BLOCK_SIZE_M=next((height for most, height in heights if tokens <= most), 128),
            BLOCK_SIZE_N=64 if few else 128,
            BLOCK_SIZE_K=128 if few else 64,
            GROUP_SIZE_M=16 if tokens // experts > 128 else 1,
            num_warps=4 if tokens <= 128 else 8,
            num_stages=4 if tokens <= 32 else 3,
        )

    return default


def _aligned(ids: torch.Tensor, experts: int, height: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Slots by expert, each expert's padded with their number to a multiple of height; tiles' experts."""
    expert, order = ids.flatten().long().sort(stable=True)
    counts = torch.bincount(expert, minlength=experts)
    tiles = (counts + height - 1) // height
    first = (tiles.cumsum(0) - tiles) * height
    rank = torch.arange(len(expert), device=ids.device) - (counts.cumsum(0) - counts)[expert]
    total = int(tiles.sum()) * height
    slots = torch.full((total,), ids.numel(), dtype=torch.int32, device=ids.device)
    slots[first[expert] + rank] = order.int()
    tile_expert = torch.repeat_interleave(torch.arange(experts, device=ids.device), tiles).int()
    return slots, tile_expert, torch.tensor([total], dtype=torch.int32, device=ids.device)


@triton.jit
def _silu_product(both, activation, intermediate, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    gate = tl.load(both + row * 2 * intermediate + column, mask=column < intermediate).to(tl.float32)
    up = tl.load(both + (row * 2 + 1) * intermediate + column, mask=column < intermediate).to(tl.float32)
    result = gate / (1.0 + tl.exp(-gate)) * up
    out = activation + row * intermediate + column
    tl.store(out, result.to(activation.dtype.element_ty), mask=column < intermediate)


def _triton_kernels(weights: Weights) -> Bind:
    """OpenAI's kernels as vLLM carries them: routing from logits, two products, SwiGLU in the first."""
    ogs = importlib.import_module("triton_kernels.matmul_ogs")
    routing = importlib.import_module("triton_kernels.routing").routing
    experts, rows, hidden = weights.w_gate_up.shape
    # Gate and up rows alternate for its fused activation; this copy of the weights is its own.
    halves = weights.w_gate_up.view(experts, 2, rows // 2, hidden)
    gate_up = halves.transpose(1, 2).reshape(experts, rows, hidden).transpose(1, 2)
    down = weights.w_down.transpose(1, 2)
    specs = ogs.FnSpecs("silu_product_pairs", _silu_product_pairs, ("alpha",))
    swiglu = ogs.FusedActivation(specs, (1.0,), 2)

    def bind(batch: Batch) -> Call:
        # The softmax over the chosen logits gives the weights back, but for a rounding.
        logits = torch.full((len(batch.x), experts), -1e4, device=batch.x.device, dtype=torch.float32)
        logits = logits.scatter(1, batch.topk_ids.long(), batch.topk_weights.log()).to(batch.x.dtype)
        top_k = batch.topk_ids.shape[1]
        precision = ogs.PrecisionConfig()

        def call() -> torch.Tensor:
            data, gather, scatter = routing(logits, top_k)
            activation = ogs.matmul_ogs(
                batch.x,
                gate_up,
                None,
                data,
                gather_indx=gather,
                fused_activation=swiglu,
                precision_config=precision,
            )
            return ogs.matmul_ogs(
                activation,
                down,
                None,
                data,
                scatter_indx=scatter,
                gammas=data.gate_scal,
                precision_config=precision,
            )

        return call

    return bind


@triton.jit
def _silu_product_pairs(acc, alpha):
    """SwiGLU of columns in pairs; alpha is there because the activation must have an argument."""
    gate, up = tl.split(tl.reshape(acc, (acc.shape[0], acc.shape[1] // 2, 2)))
    return gate.to(tl.float32) / (1.0 + tl.exp(-alpha * gate.to(tl.float32))) * up.to(tl.float32)


def _megablocks(weights: Weights) -> Bind:
    """Megablocks' dropless experts, grouped implementation if its library is there, else block-sparse."""
    arguments = importlib.import_module("megablocks.layers.arguments").Arguments
    layer = importlib.import_module("megablocks.layers.dmoe").dMoE
    experts, hidden, intermediate = weights.w_down.shape
    device = weights.w_down.device

    def bind(batch: Batch) -> Call:
        top_k = batch.topk_ids.shape[1]
        mlp = made(top_k)
        x = batch.x[:, None]
        ids, scale = batch.topk_ids.long(), batch.topk_weights.to(x.dtype)
        scores = torch.zeros(len(x), experts, device=device, dtype=x.dtype)

        @torch.no_grad()
        def call() -> torch.Tensor:
            out = mlp(x, scores, scale, ids)
            return (out[0] if isinstance(out, tuple) else out).view(batch.x.shape)

        return call

    kept = {}

    def made(top_k: int) -> torch.nn.Module:
        if top_k not in kept:
            options = arguments(
                hidden_size=hidden,
                ffn_hidden_size=intermediate,
                moe_num_experts=experts,
                moe_top_k=top_k,
                mlp_type="glu",
                mlp_impl="grouped" if _importable("grouped_gemm") else "sparse",
                activation_fn=torch.nn.functional.silu,
                bias=False,
                return_bias=False,
                fp16=weights.w_down.dtype == torch.float16,
                bf16=weights.w_down.dtype == torch.bfloat16,
                device=device,
            )
            mlp = layer(options).experts.eval()
            with torch.no_grad():
                gate, up = weights.w_gate_up.chunk(2, dim=1)
                for name, given in (("w1", gate), ("v1", up), ("w2", weights.w_down.transpose(1, 2))):
                    parameter = getattr(mlp.mlp, name)
                    parameter.view(given.shape).copy_(given)
            kept[top_k] = mlp
        return kept[top_k]

    return bind


SIXTEEN = (torch.bfloat16, torch.float16)
CONTENDERS = {
    "ours": Contender(
        _ours, ("tritonmoe",), (*SIXTEEN, torch.float32), "schedule, both products and combine included"
    ),
    "vllm": Contender(
        _vllm, ("vllm", "vllm_kernel"), SIXTEEN, "as a kernel alone: token alignment left out of its time"
    ),
    "triton_kernels": Contender(
        _triton_kernels, ("triton_kernels.matmul_ogs",), SIXTEEN, "choice from logits included"
    ),
    "grouped_mm": Contender(
        _torch_grouped, ("torch",), SIXTEEN, "torch, in the steps of transformers; sort and sum included"
    ),
    "megablocks": Contender(_megablocks, ("megablocks.layers.dmoe",), SIXTEEN, "dropless experts, no router"),
}
