"""A source file's functions and their expressions, with what operators ask about them."""

import ast
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

ATOMS = (ast.Name, ast.Attribute, ast.Constant, ast.Call, ast.Subscript, ast.Tuple)
SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Expr, ast.Return)


class Source:
    """The text of a file and its tree; spans are byte offsets, as the tree's columns are."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text, self.data = name, text, text.encode()
        self.tree = ast.parse(text)
        self._starts = [0]
        for line in self.data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def span(self, node: ast.AST) -> tuple[int, int]:
        first = self._starts[node.lineno - 1] + node.col_offset
        return first, self._starts[node.end_lineno - 1] + node.end_col_offset

    def position(self, offset: int) -> tuple[int, int]:
        """(line, column) of a byte."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1]

    def segment(self, node: ast.AST) -> str:
        first, last = self.span(node)
        return self.data[first:last].decode()

    def replaced(self, span: tuple[int, int], new: str) -> str:
        """The file with other text there. Lines keep their numbers: Triton's cache goes by them."""
        first, last = span
        missing = self.data[first:last].count(b"\n") - new.count("\n")
        return (self.data[:first] + new.encode() + b"\n" * max(missing, 0) + self.data[last:]).decode()


@dataclass(frozen=True)
class Function:
    """A function that may be mutated, and the names that its operators need."""

    source: Source
    node: ast.FunctionDef
    kernel: bool  # compiled by Triton; otherwise the host's

    @cached_property
    def bound(self) -> set[str]:
        """Names that it binds: parameters and assigned ones."""
        arguments = {each.arg for each in ast.walk(self.node) if isinstance(each, ast.arg)}
        return arguments | {
            each.id
            for each in ast.walk(self.node)
            if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
        }

    @cached_property
    def pointers(self) -> set[str]:
        """Names that hold addresses: what is loaded from or stored to, and what those were made from."""
        found = {
            leftmost(call.args[0])
            for call in ast.walk(self.node)
            if isinstance(call, ast.Call) and called(call) in ("tl.load", "tl.store") and call.args
        }
        assigned = [each for each in ast.walk(self.node) if isinstance(each, ast.Assign)]
        for _ in range(3):
            for each in assigned:
                if any(isinstance(target, ast.Name) and target.id in found for target in each.targets):
                    found.add(leftmost(each.value))
        return found - {""}

    def free_locals(self, parameters: frozenset[str]) -> set[str]:
        """Names that are passed on, as they are, as one of these parameters."""
        return {
            each.value.id
            for each in ast.walk(self.node)
            if isinstance(each, ast.keyword) and each.arg in parameters and isinstance(each.value, ast.Name)
        }


@dataclass(frozen=True)
class Site:
    """One node of a function, with the nodes above it, outermost first."""

    function: Function
    node: ast.AST
    above: tuple[ast.AST, ...]

    @property
    def parent(self) -> ast.AST:
        return self.above[-1]

    @property
    def statement(self) -> ast.stmt:
        return next(each for each in (self.node, *reversed(self.above)) if isinstance(each, ast.stmt))

    def text(self, node: ast.AST) -> str:
        """Its source, safe to put beside any operator."""
        segment = self.function.source.segment(node)
        return segment if isinstance(node, ATOMS) and "\n" not in segment else f"({segment})"

    def inside(self, *names: str) -> bool:
        """Whether it is part of an argument of a call of one of these within its statement."""
        return any(isinstance(each, ast.Call) and called(each) in names for each in self.above)

    @property
    def keyword(self) -> str:
        """The nearest keyword whose value it is part of."""
        return next((each.arg or "" for each in reversed(self.above) if isinstance(each, ast.keyword)), "")


def functions(source: Source) -> Iterator[Function]:
    """The functions of a file, nested ones as part of those that hold them."""
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef):
            kernel = any("triton.jit" in ast.unparse(each) for each in node.decorator_list)
            yield Function(source, node, kernel)


def sites(function: Function) -> Iterator[Site]:
    """Every node that can matter: no decorators, annotations, defaults, docstrings, messages."""
    for statement in function.node.body:
        yield from _below(function, statement, (function.node,))


def called(call: ast.AST) -> str:
    """The dotted name of what is called; "" where it has none."""
    return ast.unparse(call.func) if isinstance(call.func, ast.Name | ast.Attribute) else ""


def leftmost(node: ast.AST) -> str:
    """The name that a sum begins with."""
    while isinstance(node, ast.BinOp):
        node = node.left
    return node.id if isinstance(node, ast.Name) else ""


def _below(function: Function, node: ast.AST, above: tuple[ast.AST, ...]) -> Iterator[Site]:
    if isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.FunctionDef):
        for statement in node.body:
            yield from _below(function, statement, (*above, node))
        return
    yield Site(function, node, above)
    for name, value in ast.iter_fields(node):
        if name == "annotation":
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _below(function, child, (*above, node))
