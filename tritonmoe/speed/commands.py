"""The layer's part of the command line: bench, tune. Imports what is heavy only when it runs."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from ..config import MoEConfig
from ..presets import presets

MODELS = "mixtral-8x7b,qwen2-57b-a14b,deepseek-v3"
DTYPES = ("bfloat16", "float16", "float32")
SIZES = ("experts", "top_k", "hidden", "intermediate")
CODES = (
    "exit codes: 0 done; 1 something gave wrong results, or nothing was found; 2 it could not run (no GPU)"
)


def register(subparsers: argparse._SubParsersAction) -> None:
    """Adds the commands to the parser of `tritonmoe`."""
    _add_bench(subparsers)
    _add_tune(subparsers)


def _add_bench(subparsers: argparse._SubParsersAction) -> None:
    parser = _parser(
        subparsers,
        "bench",
        "time the experts and installed peers on this GPU, beside the chip's limit",
        (
            "",
            "--models mixtral-8x7b --tokens 1,512 --skew 0,2.0",
            "--peers grouped_mm --dtype float16 --json bench.json --plot bench.png",
        ),
        description="Times fused_experts (schedule, both products, combine) and the peers found here on one "
        "card in one run: medians under a graph, beside the floor, the longer of the least bytes over "
        "the measured copy bandwidth and the operations over the measured matrix rate. Whatever gives wrong "
        "results is not timed.",
    )
    _add_models(parser)
    _add_common(parser, skew="0", tokens="1,16,64,256,512,2048,8192")
    parser.add_argument(
        "--peers", default="all", metavar="LIST", help="all that are found (default), none, or names"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="floor/ms by tokens; needs matplotlib")
    parser.set_defaults(run=bench)


def bench(arguments: argparse.Namespace) -> int:
    """Runs `tritonmoe bench`."""
    from .bench import run

    return run(arguments)


def _add_tune(subparsers: argparse._SubParsersAction) -> None:
    parser = _parser(
        subparsers,
        "tune",
        "search launch configurations on this GPU, and write a table of them",
        (
            "--models qwen3-30b-a3b -o launches.json",
            "--experts 64 --top-k 8 --hidden 2048 --intermediate 1024 --tokens 1,64,4096 -o launches.json",
            "--from-vllm 'E=128,N=768,device_name=AMD_Instinct_MI300X.json' --models qwen3-30b-a3b -o t.json",
        ),
        description="Times configurations of both expert products on this GPU, keeps the fastest for each "
        "number of rows an expert, and writes them as a table. TRITONMOE_LAUNCHES=FILE, or "
        "tritonmoe.launches.use(FILE), puts it before the shipped ones.",
    )
    _add_models(parser, required=True)
    # Between powers of two too, where a tile of 64 or 128 rows leaves most of a second one empty.
    _add_common(parser, skew="0", tokens="1,8,24,48,96,192,384,768,1536,3072,8192")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the table, JSON")
    parser.add_argument("--heights", type=_numbers, metavar="LIST", help="tile heights; default: by tokens")
    parser.add_argument("--rounds", type=_count, default=4, help="of improving one field; default: 4")
    parser.add_argument("--workers", type=_count, metavar="N", help="compiling processes; default: cores")
    parser.add_argument(
        "--from-vllm", type=Path, metavar="FILE", help="convert a table of vLLM's fused_moe; measures nothing"
    )
    parser.set_defaults(run=tune)


def tune(arguments: argparse.Namespace) -> int:
    """Runs `tritonmoe tune`."""
    from .tune import run

    return run(arguments)


def _add_models(parser: argparse.ArgumentParser, required: bool = False) -> None:
    default = None if required else MODELS
    parser.add_argument("--models", type=_models, default=default, metavar="LIST", help=", ".join(presets))
    for name in SIZES:
        parser.add_argument(
            "--" + name.replace("_", "-"), type=_count, metavar="N", help="instead of --models"
        )
    parser.set_defaults(chosen=lambda arguments: chosen_models(parser, arguments))


def chosen_models(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> dict[str, MoEConfig]:
    """Configurations by name: presets, or the one that four sizes describe. Exits 2 for anything between."""
    given = {name: getattr(arguments, name) for name in SIZES if getattr(arguments, name) is not None}
    if not given:
        if not arguments.models:
            parser.error("give --models, or all of --experts --top-k --hidden --intermediate")
        return arguments.models
    missing = [name for name in SIZES if name not in given]
    if missing:
        parser.error(f"{', '.join(given)} given without {', '.join(missing)}; give all four")
    try:
        return {"-".join(map(str, given.values())): MoEConfig(**given)}
    except ValueError as error:
        parser.error(str(error))


def _add_common(parser: argparse.ArgumentParser, skew: str, tokens: str) -> None:
    parser.add_argument("--tokens", type=_numbers, default=tokens, metavar="LIST", help=f"default: {tokens}")
    parser.add_argument(
        "--skew",
        type=_listed(_skew, "0 or a Zipf exponent"),
        default=skew,
        metavar="LIST",
        help=f"of the routing: 0 is uniform, s is Zipf with exponent s; default: {skew}",
    )
    parser.add_argument("--dtype", choices=DTYPES, default=DTYPES[0], help=f"default: {DTYPES[0]}")


def _listed(kind: Callable[[str], object], expected: str) -> Callable[[str], list]:
    """A parser of comma-separated values, each of a kind."""

    def parse(text: str) -> list:
        try:
            return list(dict.fromkeys(kind(each.strip()) for each in text.split(",")))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}; expected {expected}, separated by commas") from error

    return parse


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}; expected a number of at least 1")
    return value


def _skew(text: str) -> float:
    value = float(text)
    if not 0 <= value < 100:
        raise ValueError(text)
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


_numbers = _listed(_positive, "numbers of at least 1")


def _models(text: str) -> dict[str, MoEConfig]:
    names = list(dict.fromkeys(each.strip() for each in text.split(",")))
    for name in names:
        if name not in presets:
            raise argparse.ArgumentTypeError(f"{name!r} is no preset; expected some of {', '.join(presets)}")
    # The experts alone are timed: shared experts would only take memory.
    return {
        name: dataclasses.replace(presets[name], shared_intermediate=0, shared_gate=False) for name in names
    }


def _parser(
    subparsers: argparse._SubParsersAction, name: str, summary: str, examples: Sequence[str], **options: str
) -> argparse.ArgumentParser:
    """A command's parser, with the arguments of its examples shown as whole commands."""
    lines = [f"  tritonmoe {name} {each}".rstrip() for each in examples]
    return subparsers.add_parser(
        name,
        help=summary,
        epilog="\n".join((CODES, "", "examples:", *lines)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )
