"""The ISA manual's pseudocode, as far as it computes one result from numbers, translated to Python functions.

Values are whole numbers without bounds and Python's floats; what is written to a register, or read from it
with a type, is cut to its width. What the translation does not know raises Unsupported.
"""

import re
from collections.abc import Callable
from typing import Any

from .pseudocode_values import HELPERS, Unsupported, call, type_of

TOKEN = re.compile(
    r"(?P<space>\s+|//[^\n]*)|(?P<cast>\d+'[UIFB](?!\w))|(?P<sized>\d+'(?:0x[0-9a-fA-F]+|\d+\.\d+|\d+)[UIBL]*)"
    r"|(?P<number>0x[0-9a-fA-F]+(?:U?LL|U)?|\d+\.\d+F?|\d+(?:U?LL|U)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<mark>&&|\|\||==|!=|<>|<=|>=|<<|>>|\*\*|\+=|-=|\+:|[-+*/%&|^~!<>=?:;,.(){}\[\]])"
)
LEVELS = [
    ["||"],
    ["&&"],
    ["|"],
    ["^"],
    ["&"],
    ["==", "!=", "<>"],
    ["<", "<=", ">", ">="],
    ["<<", ">>"],
    ["+", "-"],
    ["*"],
]
PYTHON = {"||": "or", "&&": "and"}
STATE = ("S0", "S1", "S2", "D0", "D1", "SCC", "VCC", "EXEC", "SIMM16")
CONSTANTS = ("INF", "NAN", "laneId", "OPSEL")


def compile_pseudocode(
    text: str, others: Callable[[str], Callable[..., dict[str, Any]]]
) -> Callable[..., dict[str, Any]]:
    """A function of the registers by name (whole numbers: their bits) to all registers afterwards.

    `others(name)` gives the function of an opcode that this one calls.
    """
    body = Translator(text).program()
    lines = [
        f"def instruction({', '.join(f'{name}=0' for name in STATE)}, laneId=0):",
        *(f"    {line}" for line in body),
    ]
    lines.append(f"    return dict({', '.join(f'{name}={name}' for name in STATE)})")
    space = dict(HELPERS, call=lambda name, *given: call(others(name), name, given))
    exec("\n".join(lines), space)  # the source is made here from tokens that are known
    return space["instruction"]


class Translator:
    """Recursive descent over the pseudocode's tokens; expressions become (Python source, width in bits or
    None).
    """

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            match = TOKEN.match(text, at)
            if not match:
                raise Unsupported(text[at : at + 20])
            if match.lastgroup != "space":
                self.tokens.append((str(match.lastgroup), match[0]))
            at = match.end()
        self.at = 0
        self.arrays: set[str] = set()
        self.functions: set[str] = set()
        self.locals: dict[str, None] = {}

    def program(self) -> list[str]:
        lines = self.block(())
        return [*(f"{name}_ = 0" for name in self.locals if name not in STATE), *lines]

    # Tokens.
    def peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead][1] if self.at + ahead < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        kind_value = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        if wanted and kind_value[1] != wanted:
            raise Unsupported(f"{kind_value[1]!r} where {wanted!r} was expected")
        self.at += 1
        return kind_value[1]

    # Statements.
    def block(self, ends: tuple[str, ...]) -> list[str]:
        lines: list[str] = []
        while self.at < len(self.tokens) and self.peek() not in ends:
            if self.peek() == ";":
                self.take()
            else:
                lines += self.statement()
        return lines or ["pass"]

    def statement(self) -> list[str]:
        word = self.peek()
        if word == "if":
            return self.condition()
        if word == "for":
            return self.loop()
        if word == "break":
            return [self.take()]
        if word == "return":
            self.take()
            return [f"return {self.expression()[0]}"]
        if word == "declare":
            return self.declaration()
        if self.peek(1) == "=" and self.peek(2) == "lambda":
            return self.function()
        return self.assignment()

    def condition(self) -> list[str]:
        lines, word = [], "if"
        while True:
            self.take()
            lines.append(f"{word} {self.expression()[0]}:")
            self.take("then")
            lines += indented(self.block(("elsif", "else", "endif")))
            if self.peek() != "elsif":
                break
            word = "elif"
        if self.peek() == "else":
            self.take()
            lines += ["else:", *indented(self.block(("endif",)))]
        self.take("endif")
        return lines

    def loop(self) -> list[str]:
        self.take("for")
        name = self.take()
        self.take("in")
        first, _ = self.expression()
        self.take(":")
        last, _ = self.expression()
        self.take("do")
        body = self.block(("endfor",))
        self.take("endfor")
        return [f"for {name}_ in range({first}, {last} + 1):", *indented(body)]

    def declaration(self) -> list[str]:
        """Only arrays need one: `declare in : 8'B[8]`."""
        self.take("declare")
        name = self.take()
        self.take(":")
        while self.peek() not in (";", "[") and self.at < len(self.tokens):
            self.take()
        if self.peek() != "[":
            return []
        self.take("[")
        number = self.take()
        self.take("]")
        self.arrays.add(name)
        return [f"{name}_ = [0] * {number}"]

    def function(self) -> list[str]:
        name = self.take()
        self.take("=")
        self.take("lambda")
        self.take("(")
        given = []
        while self.peek() != ")":
            given.append(self.take())
            if self.peek() == ",":
                self.take()
        self.take(")")
        self.take("(")
        self.functions.add(name)
        if self.peek() in ("if", "declare", "for"):
            body = self.block((")",))
        else:
            body = [f"return {self.expression()[0]}"]
        self.take(")")
        return [f"def {name}({', '.join(f'{each}_' for each in given)}):", *indented(body)]

    def assignment(self) -> list[str]:
        if self.peek() == "{":
            return self.split_assignment()
        targets = [self.target()]
        operator = self.take()
        if operator not in ("=", "+=", "-="):
            raise Unsupported(operator)
        while True:  # a = b = value
            start = self.at
            try:
                target = self.target()
                if operator != "=" or self.peek() != "=":
                    raise Unsupported("no further target")
                self.take("=")
                targets.append(target)
            except Unsupported:
                self.at = start
                break
        value, _ = self.expression()
        if operator != "=":
            name, place, width, kind = targets[0]
            old = name if width is None else f"typed({name} >> ({place}), {kind!r}, {width})"
            value = f"{old} {operator[0]} ({value})"
        lines = [f"value = {value}"]
        for name, place, width, _ in targets:
            lines.append(
                f"{name} = value" if width is None else f"{name} = put({name}, {place}, {width}, value)"
            )
        return lines

    def split_assignment(self) -> list[str]:
        """{ D1.u1, D0.u64 } = value: the last one takes the low bits."""
        self.take("{")
        targets = []
        while self.peek() != "}":
            targets.append(self.target())
            if self.peek() == ",":
                self.take()
        self.take("}")
        self.take("=")
        lines = [f"value = {self.expression()[0]}"]
        for name, place, width, _ in reversed(targets):
            if width is None:
                raise Unsupported("a target without width")
            lines += [f"{name} = put({name}, {place}, {width}, value)", f"value >>= {width}"]
        return lines

    def target(self) -> tuple[str, str, str | None, str]:
        """(register, first bit, width or None for all of it, kind)."""
        token, name = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        if token != "name":
            raise Unsupported(f"{name!r} as a target")
        self.take()
        self.locals[name] = None
        place, width, kind = "0", None, "u"
        if name in self.arrays:
            self.take("[")
            index, _ = self.expression()
            self.take("]")
            return f"{name}_[{index}]", "0", None, "u"
        while self.peek() in (".", "["):
            if self.take() == ".":
                kind, number = type_of(self.take())
                width = str(number) if width is None else width
            else:
                first, _ = self.expression()
                if self.peek() == ":":
                    self.take()
                    last, _ = self.expression()
                    place, width = last, f"({first}) - ({last}) + 1"
                else:
                    place, width = first, "1"
                self.take("]")
        return (name if name in STATE else f"{name}_"), place, width, kind

    # Expressions.
    def expression(self) -> tuple[str, int | None]:
        test = self.binary(0)
        if self.peek() != "?":
            return test
        self.take("?")
        yes = self.expression()
        self.take(":")
        no = self.expression()
        return f"(({yes[0]}) if ({test[0]}) else ({no[0]}))", yes[1]

    def binary(self, level: int) -> tuple[str, int | None]:
        if level == len(LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while self.peek() in LEVELS[level]:
            mark = self.take()
            right = self.binary(level + 1)
            if mark == "<>":
                left = f"differ({left[0]}, {right[0]})", 1
            elif mark == "*":
                left = f"times({left[0]}, {right[0]})", None
            else:
                left = f"({left[0]} {PYTHON.get(mark, mark)} {right[0]})", None
        if level == 0 and self.peek() in ("/", "%"):
            raise Unsupported(self.peek())
        return left

    def unary(self) -> tuple[str, int | None]:
        mark = self.peek()
        if mark in ("-", "+", "~", "!"):
            self.take()
            if mark in "-+" and self.peek() == "0.0":  # where a sign is written it is meant
                self.take()
                return "ZERO" if mark == "+" else "MINUS_ZERO", None
            source, width = self.unary()
            return {"!": f"(not {source})"}.get(mark, f"({mark}{source})"), width
        source, width = self.postfix()
        if self.peek() == "**":
            self.take()
            return f"power({source}, {self.unary()[0]})", None
        return source, width

    def postfix(self) -> tuple[str, int | None]:
        source, width, array = self.primary()
        while self.peek() in (".", "["):
            if self.take() == ".":
                kind, bits = type_of(self.take())
                source, width = f"typed({source}, {kind!r}, {bits})", bits
                continue
            first, _ = self.expression()
            if self.peek() == ":":
                self.take()
                last, _ = self.expression()
                source, width = f"part({source}, {first}, {last})", _difference(first, last)
            elif self.peek() == "+:":
                self.take()
                source, width = f"bits({source}, {first}, {self.expression()[0]})", None
            else:
                source, width = (f"{source}[{first}]", None) if array else (f"bits({source}, {first}, 1)", 1)
            self.take("]")
            array = False
        return source, width

    def primary(self) -> tuple[str, int | None, bool]:
        """(source, width, whether it is an array)."""
        kind, text = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        self.at += 1
        if kind == "number":
            return (
                (
                    text[:-1]
                    if "." in text and text.endswith("F")
                    else text.rstrip("UL")
                    if "." not in text
                    else text
                ),
                None,
                False,
            )
        if kind == "sized":
            width, value = text.split("'")
            return value.rstrip("UIBL"), int(width), False
        if kind == "cast":
            width, letter = text.split("'")
            self.take("(")
            inner, _ = self.expression()
            self.take(")")
            return f"cast({inner}, {letter!r}, {width})", int(width), False
        if text == "(":
            source, width = self.expression()
            self.take(")")
            return f"({source})", width, False
        if text == "{":
            return self.joined()
        if kind == "name":
            return self.named(text)
        raise Unsupported(text)

    def joined(self) -> tuple[str, int | None, bool]:
        parts = []
        while self.peek() != "}":
            parts.append(self.expression())
            if self.peek() == ",":
                self.take()
        self.take("}")
        made, total = "0", 0
        for source, width in parts:
            if width is None:
                raise Unsupported("a part without width")
            made, total = f"(({made} << {width}) | typed({source}, 'u', {width}))", total + width
        return made, total, False

    def named(self, name: str) -> tuple[str, int | None, bool]:
        if self.peek() == "(":
            self.take("(")
            given = []
            while self.peek() != ")":
                given.append(self.expression()[0])
                if self.peek() == ",":
                    self.take()
            self.take(")")
            if name.startswith(("v_", "s_")):
                return f"call({name!r}, {', '.join(given)})", None, False
            if name not in HELPERS and name not in self.functions:
                raise Unsupported(f"{name}()")
            return f"{name}({', '.join(given)})", 8 if name in self.functions else None, False
        if name == "WAVE_MODE":
            self.take(".")
            self.take("IEEE")
            return "True", None, False
        if name in STATE or name in CONSTANTS:
            return name, None, False
        if name in ("PC", "VGPR", "MEM", "SIMM32", "OPSEL_HI", "DENORM", "ROUND_MODE", "SDWA_SRC0_SEL", "PI"):
            raise Unsupported(name)
        if name.isupper() and name not in self.locals:
            raise Unsupported(name)
        self.locals.setdefault(name)
        return f"{name}_", None, name in self.arrays


def indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _difference(first: str, last: str) -> int | None:
    return int(first) - int(last) + 1 if first.isdigit() and last.isdigit() else None
