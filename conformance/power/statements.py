"""Which statements of the kernels' source were executed, from the lines of compiled kernels that ran.

Many statements have no instruction of their own: a name for a tuple, a constant, what the compiler merges
into another line. So the source is walked once for each compiled kernel as the compiler does: constants
decide the branches that they can, calls are followed with their arguments. What is met was compiled. It was
executed if a line of its block ran, and, where it has instructions of its own, one of those did. Branches so
small that the compiler makes a selection of them count as executed together.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..gfx942.lines import Line

UNKNOWN = object()
BUILTINS = {"min": min, "max": max, "abs": abs, "None": None}


@dataclass(frozen=True)
class Unexecuted:
    """A part of a function of which no statement ran: the function, the text of the branch or statement, and
    its lines.

    `compiled` tells whether any compiled kernel holds it.
    """

    function: str
    source: str
    lines: tuple[int, int]
    statements: int
    compiled: bool


@dataclass
class Function:
    """A @triton.jit function; `module` is its file's name without the suffix."""

    module: str
    node: ast.FunctionDef
    compiled: set[int] = field(default_factory=set)
    executed: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        return f"{self.module}.{self.node.name}"

    def statements(self) -> Iterator[ast.stmt]:
        yield from _inside(self.node.body)

    def unexecuted(self) -> list[Unexecuted]:
        """The largest parts of which nothing ran."""
        if not self.executed:
            return [self._part(f"def {self.node.name}", self.node.body)]
        return list(self._parts(self.node.body))

    def _parts(self, body: list[ast.stmt]) -> Iterator[Unexecuted]:
        for each in body:
            if _is_text(each):
                continue
            if not any(s.lineno in self.executed for s in _inside([each])):
                yield self._part(ast.unparse(each).splitlines()[0], [each])
                continue
            for title, branch in _branches(each):
                if branch and not any(s.lineno in self.executed for s in _inside(branch)):
                    yield self._part(title, branch)
                else:
                    yield from self._parts(branch)

    def _part(self, source: str, body: list[ast.stmt]) -> Unexecuted:
        lines = [each.lineno for each in _inside(body)]
        end = max(each.end_lineno or each.lineno for each in body)
        return Unexecuted(
            self.name, source, (min(lines), end), len(lines), any(line in self.compiled for line in lines)
        )


class Sources:
    """All @triton.jit functions of a folder's files. `walk` each kernel that ran, then ask the functions."""

    def __init__(self, folder: Path) -> None:
        self.functions: dict[tuple[str, str], Function] = {}
        self.constants: dict[str, dict[str, Any]] = {}  # by module
        self._imports: dict[str, dict[str, str]] = {}  # by module: which one a name comes from
        for path in sorted(folder.glob("*.py")):
            self._read(path.stem, ast.parse(path.read_text()))

    def walk(self, kernel: str, constants: dict[str, Any], has: Iterable[Line], ran: Iterable[Line]) -> None:
        """One compiled kernel: its constants, the lines that have code in it, and those of them that ran."""
        for (_, name), function in self.functions.items():
            if name == kernel:
                _Walk(self, set(has), set(ran)).function(function, constants, True)

    def resolve(self, module: str, name: str) -> Function | None:
        found = self.functions.get((module, name))
        return found or self.functions.get((self._imports[module].get(name, ""), name))

    def _read(self, module: str, tree: ast.Module) -> None:
        names, imports = self.constants.setdefault(module, {}), self._imports.setdefault(module, {})
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and any(
                "triton.jit" in ast.unparse(d) for d in node.decorator_list
            ):
                self.functions[module, node.name] = Function(module, node)
            elif isinstance(node, ast.ImportFrom) and node.level:
                imports |= {each.asname or each.name: (node.module or "") for each in node.names}
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                value = node.value
                if isinstance(value, ast.Call) and ast.unparse(value.func) == "tl.constexpr":
                    value = value.args[0]
                if (known := _value(value, {})) is not UNKNOWN:
                    names[node.targets[0].id] = known


@dataclass
class _Walk:
    sources: Sources
    has: set[Line]
    ran: set[Line]

    def function(self, function: Function, known: dict[str, Any], alive: bool) -> None:
        self._block(function, function.node.body, self.sources.constants[function.module] | known, alive)

    def _block(self, f: Function, body: list[ast.stmt], env: dict[str, Any], alive: bool) -> bool:
        """Whether the block always returns."""
        for number, each in enumerate(body):
            if _is_text(each):
                continue
            self._note(f, each, alive)
            if isinstance(each, ast.If):
                test = _value(each.test, env)
                if test is not UNKNOWN:
                    if self._block(f, each.body if test else each.orelse, env, alive):
                        return True
                    continue
                self._calls(f, each.test, env, alive)
                ends = [
                    self._block(f, branch, dict(env), alive and self._any(f, branch))
                    for branch in (each.body, each.orelse)
                ]
                _forget(each, env)
                if all(ends):
                    return True
                if any(ends):  # what follows runs only where it did not return
                    rest = body[number + 1 :]
                    return self._block(f, rest, env, alive and self._any(f, rest))
            elif isinstance(each, ast.For | ast.While):
                self._calls(f, each.iter if isinstance(each, ast.For) else each.test, env, alive)
                _forget(each, env)
                self._block(f, each.body, env, alive and self._any(f, each.body))
            else:
                self._calls(f, each, env, alive)
                if isinstance(each, ast.Return):
                    return True
                _assign(each, env)
        return False

    def _note(self, f: Function, each: ast.stmt, alive: bool) -> None:
        f.compiled.add(each.lineno)
        own = _own_lines(f, each)
        if alive and (not own & self.has or own & self.ran):
            f.executed.add(each.lineno)

    def _any(self, f: Function, body: list[ast.stmt]) -> bool:
        return bool(body) and any(
            (f"{f.module}.py", line) in self.ran
            for line in range(body[0].lineno, (body[-1].end_lineno or 0) + 1)
        )

    def _calls(self, f: Function, node: ast.AST, env: dict[str, Any], alive: bool) -> None:
        if isinstance(node, ast.IfExp) and (test := _value(node.test, env)) is not UNKNOWN:
            self._calls(f, node.body if test else node.orelse, env, alive)
            return
        for child in ast.iter_child_nodes(node):
            self._calls(f, child, env, alive)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = self.sources.resolve(f.module, node.func.id)
            if called:
                self.function(called, _bound(called.node, node, env), alive)


def _bound(function: ast.FunctionDef, call: ast.Call, env: dict[str, Any]) -> dict[str, Any]:
    """The parameters whose values are known before the kernel runs."""
    names = [each.arg for each in function.args.args]
    given = dict(zip(names, call.args, strict=False)) | {
        each.arg: each.value for each in call.keywords if each.arg
    }
    values = {name: _value(node, env) for name, node in given.items()}
    return {name: value for name, value in values.items() if value is not UNKNOWN}


def _assign(statement: ast.stmt, env: dict[str, Any]) -> None:
    value = UNKNOWN
    if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        value = _value(statement.value, env)
    _forget(statement, env)
    target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
    if value is not UNKNOWN and isinstance(target, ast.Name) and not isinstance(statement, ast.AugAssign):
        env[target.id] = value


def _forget(node: ast.AST, env: dict[str, Any]) -> None:
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            env.pop(each.id, None)


def _value(node: ast.expr, env: dict[str, Any]) -> Any:
    """What an expression of constants is; UNKNOWN where it needs something of the launch."""
    try:
        code = compile(ast.Expression(node), "<constant>", "eval")
        return eval(code, {"__builtins__": BUILTINS}, env)
    except Exception:  # a name of the kernel's own, or an operation on one
        return UNKNOWN


def _inside(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for each in body:
        if not _is_text(each):
            yield each
            for _, branch in _branches(each):
                yield from _inside(branch)


def _branches(statement: ast.stmt) -> list[tuple[str, list[ast.stmt]]]:
    title = ast.unparse(statement).splitlines()[0] if hasattr(statement, "body") else ""
    branches = [(title, getattr(statement, "body", []))]
    other = getattr(statement, "orelse", [])
    return [*branches, (f"else of {title}", other)] if other else branches


def _own_lines(f: Function, statement: ast.stmt) -> set[Line]:
    """A statement's lines, without those of the statements inside it."""
    inner = getattr(statement, "body", None)
    end = inner[0].lineno - 1 if inner else (statement.end_lineno or statement.lineno)
    return {(f"{f.module}.py", line) for line in range(statement.lineno, max(end, statement.lineno) + 1)}


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
