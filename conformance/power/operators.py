"""What can be wrong with a line: each operator yields replacements for one node of a function's tree.

An operator is a generator over (replaced node or span, new text, what is wrong then); its name is part of the
mutant's id.
"""

import ast
from collections.abc import Callable, Iterator
from itertools import pairwise

from .syntax import Site, called, leftmost

Replacement = tuple[ast.AST | tuple[int, int], str, str]
Operator = Callable[[Site], Iterator[Replacement]]
OPERATORS: dict[str, tuple[Operator, bool | None]] = {}

BOUNDARY = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "=="}
BOUNDARY |= {ast.Is: "is not", ast.IsNot: "is"}
# A factor is left out by "dropped term"; a sum in its place is no likelier a fault.
OTHER_SIGN = {ast.Add: "-", ast.Sub: "+", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "//"}
OTHER_SIGN |= {ast.BitAnd: "|", ast.BitOr: "&", ast.BitXor: "|", ast.RShift: "<<", ast.LShift: ">>"}
OTHER_CALL = {"tl.minimum": "tl.maximum", "tl.maximum": "tl.minimum", "tl.min": "tl.max", "tl.max": "tl.min"}
OTHER_CALL |= {"min": "max", "max": "min", "tl.exp": "tl.exp2", "tl.sum": "tl.max"}
# Taken one for the other: each pair where a function binds both.
CONFUSED = [("gate", "up"), ("w_gate", "w_up"), ("gate_ptrs", "up_ptrs"), ("hidden", "intermediate")]
CONFUSED += [("tokens", "rows"), ("row", "column"), ("tile_expert", "tile_row"), ("experts", "slots")]
CONFUSED += [("token", "position"), ("first", "second"), ("score", "logit"), ("choice", "score")]
CONFUSED += [("mask", "served"), ("first_row", "last_row"), ("read_m", "read_n")]
OTHER_NAME = dict(CONFUSED) | {b: a for a, b in CONFUSED if b not in dict(CONFUSED)}
SHAPING = ("tl.zeros", "tl.full", "tl.reshape", "tl.permute", "tl.arange", "tl.program_id", "tl.num_programs")
BF16 = "{}.to(tl.bfloat16).to(tl.float32)"


def operator(name: str, kernel: bool | None = None) -> Callable[[Operator], Operator]:
    """Registers an operator for kernels alone (True), the host alone (False), or both."""

    def register(function: Operator) -> Operator:
        OPERATORS[name] = (function, kernel)
        return function

    return register


@operator("comparison")
def comparison(site: Site) -> Iterator[Replacement]:
    node = site.node
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in BOUNDARY:
        if _of_key(site) and isinstance(node.ops[0], ast.Is | ast.IsNot):
            return  # its opposite tells the same calls apart
        new = BOUNDARY[type(node.ops[0])]
        yield node, f"({site.text(node.left)} {new} {site.text(node.comparators[0])})", f"compares with {new}"


@operator("arithmetic")
def arithmetic(site: Site) -> Iterator[Replacement]:
    node = site.node
    if isinstance(node, ast.BinOp) and type(node.op) in OTHER_SIGN and not _adds_nothing(node):
        new = OTHER_SIGN[type(node.op)]
        yield node, f"({site.text(node.left)} {new} {site.text(node.right)})", f"computes with {new}"


@operator("dropped term")
def dropped_term(site: Site) -> Iterator[Replacement]:
    node = site.node
    if not isinstance(node, ast.BinOp) or isinstance(node.op, ast.Pow | ast.BitAnd) or _adds_nothing(node):
        return
    yield node, site.text(node.left), f"leaves out {ast.unparse(node.right)}"
    if isinstance(node.op, ast.Add) and leftmost(node) not in site.function.pointers:
        yield node, site.text(node.right), f"leaves out {ast.unparse(node.left)}"


@operator("widened mask")
def widened_mask(site: Site) -> Iterator[Replacement]:
    node = site.node
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd):
        yield node, site.text(node.left), f"does not look at {ast.unparse(node.right)}"
        yield node, site.text(node.right), f"does not look at {ast.unparse(node.left)}"


@operator("dropped mask", kernel=True)
def dropped_mask(site: Site) -> Iterator[Replacement]:
    if not isinstance(site.node, ast.Call) or called(site.node) not in (
        "tl.load",
        "tl.store",
        "tl.histogram",
    ):
        return
    kept = [each for each in site.node.keywords if each.arg not in ("mask", "other")]
    if any(each.arg == "mask" for each in site.node.keywords):
        source = site.function.source
        rest = ", ".join(source.segment(each) for each in (*site.node.args, *kept))
        yield site.node, f"{called(site.node)}({rest})", "reads or writes without its mask"


@operator("changed other", kernel=True)
def changed_other(site: Site) -> Iterator[Replacement]:
    if isinstance(site.node, ast.keyword) and site.node.arg == "other":
        # What a hidden lane would hold may be anything: 1 times a 0 beside it would tell nothing.
        new = {"0": "1", "0.0": 'float("nan")'}.get(ast.unparse(site.node.value), "0")
        yield site.node.value, new, f"masked lanes are {new}"


@operator("constant")
def constant(site: Site) -> Iterator[Replacement]:
    node = site.node
    if not isinstance(node, ast.Constant) or site.keyword in ("axis", "other") or site.inside(*SHAPING):
        return
    if isinstance(site.parent, ast.Tuple) and isinstance(site.above[-2], ast.Call):
        return  # an axis of a grid that the kernel does not look at
    if any(
        isinstance(each, ast.Call) and called(each).endswith((".stride", "range", ".reshape"))
        for each in site.above
    ):
        return
    if type(node.value) is int:
        yield node, str(node.value + 1), f"{node.value} becomes {node.value + 1}"
        if node.value > 0:
            yield node, str(node.value - 1), f"{node.value} becomes {node.value - 1}"
    elif type(node.value) is float:
        new = [0.0, 1e-3] if 0 < node.value < 1e-6 else [node.value * 1.02 if node.value else 1.0]
        for each in new:
            yield node, repr(each), f"{node.value} becomes {each}"


@operator("axis", kernel=True)
def axis(site: Site) -> Iterator[Replacement]:
    node = site.node
    if isinstance(node, ast.keyword) and node.arg == "axis" and isinstance(node.value, ast.Constant):
        if node.value.value:  # a vector has no other
            yield node.value, str(node.value.value - 1), "goes along the axis before"
    elif isinstance(node, ast.Call) and called(node) == "tl.program_id":
        yield node.args[0], str(1 - node.args[0].value), "takes the grid's other axis"


@operator("stride")
def stride(site: Site) -> Iterator[Replacement]:
    node = site.node
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id.startswith("stride_"):
        alike = sorted(
            each for each in site.function.bound if each[:8] == node.id[:8] and len(each) == len(node.id)
        )
        if len(alike) > 1 and not isinstance(site.parent, ast.Tuple):
            other = alike[(alike.index(node.id) + 1) % len(alike)]
            yield node, other, f"takes {other} for {node.id}"
    elif isinstance(node, ast.Call) and called(node).endswith(".stride") and not node.keywords:
        if not node.args:
            yield node, f"{site.text(node)}[::-1]", "passes strides in reverse"
        elif isinstance(node.args[0], ast.Constant):
            yield node.args[0], str(abs(node.args[0].value - 1)), "passes another axis's stride"


@operator("loop")
def loop(site: Site) -> Iterator[Replacement]:
    call = site.node.iter if isinstance(site.node, ast.For) else None
    if not isinstance(call, ast.Call) or called(call) not in ("range", "tl.range", "tl.static_range"):
        return
    if len(call.args) == 1:
        stop = site.text(call.args[0])
        yield call.args[0], f"({stop} - 1)", "makes one round too few"
        yield call.args[0], f"({stop} + 1)", "makes one round too many"
    elif len(call.args) == 3:
        start, stop, step = (site.text(each) for each in call.args)
        yield call.args[0], f"({start} + {step})", "leaves out the first round"
        yield call.args[1], f"({stop} - {step})", "leaves out the last round"
        yield call.args[1], f"({stop} + {step})", "makes one round too many"


@operator("cast", kernel=True)
def cast(site: Site) -> Iterator[Replacement]:
    node = site.node
    if not isinstance(node, ast.Call):
        return
    if called(node) == "tl.cast" and ast.unparse(node.args[1]) == "tl.int64":
        yield node.args[1], "tl.int32", "computes in int32"
    elif isinstance(node.func, ast.Attribute) and node.func.attr == "to" and node.args:
        to, receiver = ast.unparse(node.args[0]), site.text(node.func.value)
        if node.keywords:
            yield node, f"{receiver}.to({to})", "converts where it should reinterpret"
        elif to == "tl.int64":
            yield node.args[0], "tl.int32", "computes in int32"
        elif to == "tl.float32":  # left out, Triton would convert all the same
            yield node, BF16.format(receiver), "is rounded to bfloat16 on its way"
        else:
            yield node, receiver, f"is not converted to {to}"


@operator("rounding", kernel=True)
def rounding(site: Site) -> Iterator[Replacement]:
    node = site.node
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        yield (
            node,
            BF16.format(f"({site.function.source.segment(node)})"),
            "a quotient is rounded to bfloat16",
        )
    if not isinstance(node, ast.Call):
        return
    if called(node) == "tl.dot":
        yield node, BF16.format(site.text(node)), "the accumulator is rounded to bfloat16 at every step"
        yield (
            node,
            f"{site.text(node)}.to(tl.float16).to(tl.float32)",
            "the accumulator is rounded to float16",
        )
    elif called(node) in ("tl.exp", "tl.div_rn", "tl.fma"):
        yield node, BF16.format(site.text(node)), f"the result of {called(node)} is rounded to bfloat16"
    elif (
        isinstance(node.func, ast.Attribute) and node.func.attr == "to" and "element_ty" in ast.unparse(node)
    ):
        value = site.text(node.func.value)
        to = ast.unparse(node.args[0])
        yield node, f"{value}.to(tl.bfloat16).to({to})", "is rounded twice"
        cut = f"({value}.to(tl.int32, bitcast=True) & -65536).to(tl.float32, bitcast=True).to({to})"
        yield node, cut, "is cut to bfloat16 instead of rounded"


@operator("precision", kernel=True)
def precision(site: Site) -> Iterator[Replacement]:
    if isinstance(site.node, ast.keyword) and site.node.arg == "input_precision":
        yield site.node.value, '"tf32"', "float32 products are tf32"


@operator("call")
def call(site: Site) -> Iterator[Replacement]:
    node = site.node
    if not isinstance(node, ast.Call):
        return
    name, arguments = called(node), [site.text(each) for each in node.args]
    if name in OTHER_CALL:
        yield node.func, OTHER_CALL[name], f"{OTHER_CALL[name]} in place of {name}"
    if name in ("tl.minimum", "tl.maximum", "min", "max") and len(node.args) == 2:
        yield node, arguments[0], f"{arguments[0]} is not limited by {arguments[1]}"
    elif name in ("tl.cdiv", "triton.cdiv"):
        yield node, f"({arguments[0]} // {arguments[1]})", "rounds down"
    elif name in ("tl.trans", "tl.cumsum", "triton.next_power_of_2"):
        yield node, arguments[0], f"leaves out {name}"
    elif name == "tl.fma":
        yield node, f"({arguments[0]} * {arguments[1]})", "loses what was summed before"
    elif name == "tl.where":
        yield node, arguments[1], "always takes the first choice"
        yield node, arguments[2], "always takes the second choice"


@operator("ties", kernel=True)
def ties(site: Site) -> Iterator[Replacement]:
    node = site.node
    if not isinstance(node, ast.Call) or called(node) != "tl.min" or not isinstance(node.args[0], ast.Call):
        return
    inner = node.args[0]
    if called(inner) == "tl.where":
        condition, value, _ = (site.text(each) for each in inner.args)
        along = ", ".join(ast.unparse(each) for each in node.keywords)
        yield node, f"tl.max(tl.where({condition}, {value}, -1), {along})", "ties go to the last"


@operator("condition")
def condition(site: Site) -> Iterator[Replacement]:
    node = site.node
    if isinstance(node, ast.If | ast.IfExp):
        yield node.test, f"(not {site.text(node.test)})", "takes the other branch"
    elif isinstance(node, ast.BoolOp):
        new = " or " if isinstance(node.op, ast.And) else " and "
        yield node, f"({new.join(site.text(each) for each in node.values)})", f"joins by{new}".rstrip()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, site.text(node.operand), "is not negated"


@operator("sign")
def sign(site: Site) -> Iterator[Replacement]:
    node = site.node
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node, site.text(node.operand), "loses its sign"


@operator("statement")
def statement(site: Site) -> Iterator[Replacement]:
    node = site.node
    again = (
        isinstance(node, ast.Assign)
        and len(node.targets) == 1
        and isinstance(node.targets[0], ast.Name)
        and _bound_before(site, node.targets[0].id)
    )
    stored = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    bare = isinstance(node, ast.Return) and node.value is None
    if again or stored or bare or isinstance(node, ast.AugAssign):
        yield node, "pass", "is left out"


@operator("name")
def name(site: Site) -> Iterator[Replacement]:
    node = site.node
    if not isinstance(node, ast.Name) or not isinstance(node.ctx, ast.Load):
        return
    other = OTHER_NAME.get(node.id)
    if other in site.function.bound and not isinstance(site.parent, ast.Tuple):
        yield node, other, f"takes {other} for {node.id}"


@operator("weight", kernel=True)
def weight(site: Site) -> Iterator[Replacement]:
    node = site.node
    if isinstance(node, ast.Name) and node.id in {"weight", "scale", "w"} - site.function.pointers:
        factor = isinstance(site.parent, ast.BinOp) and isinstance(site.parent.op, ast.Mult)
        if isinstance(node.ctx, ast.Load) and (factor or site.inside("tl.fma")):
            yield node, f"({node.id} * {node.id})", f"{node.id} counts twice"
            yield node, f"({node.id} * 0 + 1)", f"{node.id} does not count"


@operator("stale index", kernel=True)
def stale_index(site: Site) -> Iterator[Replacement]:
    node = site.node
    if isinstance(node, ast.Call) and called(node) == "tl.load" and isinstance(node.args[0], ast.BinOp):
        index = node.args[0].right
        if isinstance(index, ast.Name) and not node.keywords:
            yield index, f"tl.maximum({index.id} - 1, 0)", f"reads the {index.id} before"


@operator("dtype", kernel=False)
def dtype(site: Site) -> Iterator[Replacement]:
    node = site.node
    if isinstance(node, ast.keyword) and node.arg == "dtype":
        new = "torch.int64" if "int" in ast.unparse(node.value) else "torch.float16"
        yield node.value, new, f"is {new}"


@operator("swapped arguments", kernel=False)
def swapped_arguments(site: Site) -> Iterator[Replacement]:
    """Of a launch, or a tuple of what it is given: neighbours of one kind."""
    node = site.node
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Subscript):
        given = node.args
    elif isinstance(node, ast.Tuple) and isinstance(site.parent, ast.Assign) and len(node.elts) > 3:
        given = node.elts
    else:
        return
    source = site.function.source
    for a, b in pairwise(given):
        if type(a) is type(b) and isinstance(a, ast.Name | ast.Call | ast.Starred):
            span = source.span(a)[0], source.span(b)[1]
            yield (
                span,
                f"{source.segment(b)}, {source.segment(a)}",
                f"{ast.unparse(a)} and {ast.unparse(b)} swapped",
            )


def _of_key(site: Site) -> bool:
    """Whether it is part of `also`, what a launch is found again by."""
    statement = site.statement
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return site.keyword == "also" or any(isinstance(each, ast.Name) and each.id == "also" for each in targets)


def _adds_nothing(node: ast.BinOp) -> bool:
    """Whether a term is zeros, there for its shape or type: `a + tl.zeros(...)`, `a * 0 + b`."""

    def zero(term: ast.AST) -> bool:
        if isinstance(term, ast.BinOp):
            return isinstance(term.op, ast.Mult) and ast.unparse(term.right) == "0"
        return isinstance(term, ast.Call) and called(term) == "tl.zeros"

    return isinstance(node.op, ast.Add) and (zero(node.left) or zero(node.right))


def _bound_before(site: Site, target: str) -> bool:
    line = site.node.lineno
    parameters = {each.arg for each in site.function.node.args.args}
    return target in parameters or any(
        isinstance(each, ast.Name)
        and isinstance(each.ctx, ast.Store)
        and each.id == target
        and each.lineno < line
        for each in ast.walk(site.function.node)
    )
