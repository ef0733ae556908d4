"""All mutants of a tree: what operators make of each function, and named faults; ids outlive other edits."""

import ast
import difflib
import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .named import FAULTS, Fault
from .operators import OPERATORS
from .syntax import SIMPLE, Function, Site, Source, functions, sites

HOSTS = ("router", "schedule", "gate_up", "down", "combine", "pack", "tiles", "layer", "dispatch", "replay")
# What a launch may choose freely: these change when and where work is done, by contract never a result.
FREE = frozenset({"GROUP_M", "FLATTEN", "MIXED", "ROWS", "BLOCK", "BLOCK_T", "num_warps", "num_stages"})


@dataclass(frozen=True)
class Mutant:
    """One wrong tree: `file` (its name in tritonmoe) with the text `text` in place of the original.

    first and last: lines that differ, of the original. start and end: the same as (line, column), for what
    Triton's compiler records. `kernel`: whether only Triton compiles what is changed.
    """

    id: str
    file: str
    function: str
    operator: str
    description: str
    diff: str
    text: str
    kernel: bool
    first: int
    last: int
    start: tuple[int, int] = (0, 0)
    end: tuple[int, int] = (0, 0)
    models: str = ""

    @property
    def where(self) -> str:
        return f"{self.file}:{self.first} {self.function}"


def all_mutants(package: Path) -> list[Mutant]:
    """Those of operators, by file and line, then the named ones. `package`: the folder of tritonmoe."""
    return [*operator_mutants(package), *named_mutants(package)]


def operator_mutants(package: Path) -> list[Mutant]:
    made: list[Mutant] = []
    for path in sorted(package.glob("*.py")):
        source = Source(path.name, path.read_text())
        seen = {ast.dump(source.tree)}
        for mutant in mutants_of(source, host=path.stem in HOSTS):
            tree = ast.dump(ast.parse(mutant.text))
            if tree not in seen and _sensible(mutant):
                seen.add(tree)
                made.append(mutant)
    return made


def _sensible(mutant: Mutant) -> bool:
    """Not what Python itself finds wrong: that would be a kill which proves nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", SyntaxWarning)
        try:
            compile(mutant.text, mutant.file, "exec")
        except SyntaxError:
            return False
    return True


def mutants_of(source: Source, host: bool = True) -> Iterator[Mutant]:
    """Every operator on every node of a file's kernels, and of its host functions if `host`."""
    counted: Counter[str] = Counter()
    for function in functions(source):
        if not (function.kernel or host):
            continue
        for site in sites(function):
            if _free(site):
                continue
            for name, (operator, kernel) in OPERATORS.items():
                if kernel is None or kernel == function.kernel:
                    for where, new, description in operator(site):
                        yield _mutant(source, function, site, name, where, new, description, counted)


def named_mutants(package: Path) -> list[Mutant]:
    return [_named(package, fault) for fault in FAULTS]


def _mutant(
    source: Source,
    function: Function,
    site: Site,
    operator: str,
    where: ast.AST | tuple[int, int],
    new: str,
    description: str,
    counted: Counter[str],
) -> Mutant:
    span = where if isinstance(where, tuple) else source.span(where)
    text = source.replaced(span, new)
    # The statement as it was, what is replaced in it and by what; the same again in the function is numbered.
    statement = site.statement
    context = ast.unparse(statement) if isinstance(statement, SIMPLE) else ast.unparse(_header(statement))
    old = " ".join(source.data[span[0] : span[1]].decode().split())
    key = f"{source.name}:{function.node.name}:{operator}:{context}:{old}:{' '.join(new.split())}"
    counted[key] += 1
    digest = hashlib.sha256(f"{key}:{counted[key]}".encode()).hexdigest()[:8]
    start, end = source.position(span[0]), source.position(span[1])
    return Mutant(
        f"{source.name}:{function.node.name}:{operator.replace(' ', '-')}:{digest}",
        source.name,
        function.node.name,
        operator,
        description,
        _diff(source.name, source.text, text),
        text,
        function.kernel,
        *_lines(statement, start, end),
        start,
        end,
    )


def _named(package: Path, fault: Fault) -> Mutant:
    before = (package / fault.file).read_text()
    if before.count(fault.old) != 1:
        raise ValueError(
            f"named fault {fault.name}: its text is {before.count(fault.old)} times in {fault.file}, "
            f"expected once; anchor it anew in power/named: {fault.old!r}"
        )
    first = before[: before.index(fault.old)].count("\n") + 1
    text = before.replace(fault.old, fault.new)
    last = first + fault.old.rstrip("\n").count("\n")
    holder = [
        each.name
        for each in ast.parse(before).body
        if isinstance(each, ast.FunctionDef | ast.ClassDef) and each.lineno <= first <= (each.end_lineno or 0)
    ]
    return Mutant(
        f"named:{fault.name}",
        fault.file,
        holder[0] if holder else "module",
        "named",
        fault.wrong,
        _diff(fault.file, before, text),
        text,
        False,
        first,
        last,
        models=fault.models,
    )


def _free(site: Site) -> bool:
    """Part of a value that only steers speed: an argument of a free parameter, its name, or the value of a
    local that is passed on as one.
    """
    if site.keyword in FREE or (isinstance(site.node, ast.keyword) and site.node.arg in FREE):
        return True
    statement = site.statement
    if not isinstance(statement, ast.Assign) or site.function.kernel:
        return False
    targets = {each.id for each in statement.targets if isinstance(each, ast.Name)}
    return bool(targets & site.function.free_locals(FREE))


def _header(statement: ast.stmt) -> ast.AST:
    for name in ("test", "iter", "items"):
        part = getattr(statement, name, None)
        if isinstance(part, ast.AST):
            return part
    return statement


def _lines(statement: ast.stmt, start: tuple[int, int], end: tuple[int, int]) -> tuple[int, int]:
    """Lines that run when the changed code does: a simple statement's, or a compound one's header."""
    if isinstance(statement, SIMPLE):
        return statement.lineno, statement.end_lineno or statement.lineno
    return min(statement.lineno, start[0]), end[0]


def _diff(name: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"tritonmoe/{name}", f"tritonmoe/{name}", n=0, lineterm=""
    )
    return "\n".join(line for line in lines if line not in ("+", "-"))
