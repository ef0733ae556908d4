"""Assembly text of a compiled kernel, read once: instructions, labels, kernel descriptor, arguments.

The text is Triton's `asm["amdgcn"]`: LLVM's assembly syntax for AMDGPU (LLVM, "User Guide for AMDGPU
Backend", sections "Assembler" and "Code Object Metadata").
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

ENCODINGS = ("_e32", "_e64_dpp", "_e64", "_dpp", "_sdwa", "_vi")
_LOC = re.compile(r"\.loc\s+(\d+)\s+(\d+)\s+(\d+)[^;]*(?:;\s*(.*))?")
_FILE = re.compile(r'\.file\s+(\d+)\s+(?:"([^"]*)"\s+)?"([^"]*)"')


class ProgramError(Exception):
    """The assembly holds something that the emulator does not know; the message names it."""


@dataclass(frozen=True)
class Location:
    """A line of Triton source; `inlined` tells through which calls it came here, innermost first."""

    file: str = "?"
    line: int = 0
    inlined: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f" ({self.inlined})" if "@[" in self.inlined else "")

    @property
    def lines(self) -> list[tuple[str, int]]:
        """(file, line), innermost first: its own, then those of the calls that led there (files by name)."""
        return [(self.file, self.line), *_calls(self.inlined)[1:]]


@lru_cache(maxsize=1 << 14)
def _calls(inlined: str) -> list[tuple[str, int]]:
    return [(file, int(line)) for file, line in re.findall(r"([^\s@\[\]:]+):(\d+):\d+", inlined)]


@dataclass(frozen=True)
class Instruction:
    """One instruction as written; `opcode` is the manual's name in lower case, without the encoding's
    suffix.
    """

    index: int
    opcode: str
    encoding: str
    operands: tuple[str, ...]
    modifiers: dict[str, str]
    location: Location
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Argument:
    """Where an argument lies in the kernel argument segment: offset and size in bytes."""

    offset: int
    size: int
    kind: str


@dataclass
class Program:
    """A kernel: `entry` is the index of its first instruction when the hardware preloads arguments."""

    name: str
    target: str
    instructions: list[Instruction]
    labels: dict[str, int]
    descriptor: dict[str, int]
    arguments: list[Argument]
    entry: int = 0
    data: dict[str, bytes] = field(default_factory=dict)

    def flag(self, name: str, default: int = 0) -> int:
        """A field of the kernel descriptor, without its `.amdhsa_` prefix."""
        return self.descriptor.get(name, default)


def parse(text: str) -> Program:
    """Reads assembly. Raises ProgramError where it holds no kernel."""
    kernel = re.search(r"^\s*\.amdhsa_kernel\s+(\S+)", text, re.M)
    if not kernel:
        raise ProgramError("the text holds no .amdhsa_kernel; expected the amdgcn assembly of a kernel")
    name = kernel[1]
    reader = _Reader(name)
    for line in text.splitlines():
        reader.line(line)
    target = re.search(r'\.amdgcn_target\s+"[^"]*-(gfx\w+)', text)
    descriptor = {
        key: int(value, 0)
        for key, value in re.findall(r"^\s*\.amdhsa_(\w+)\s+(-?\w+)\s*$", text, re.M)
        if _number(value)
    }
    return Program(
        name,
        target[1] if target else "?",
        reader.instructions,
        reader.labels,
        descriptor,
        _arguments(text),
        reader.entry if descriptor.get("user_sgpr_kernarg_preload_length") else reader.labels[name],
        reader.data,
    )


class _Reader:
    """What the lines read so far have defined."""

    def __init__(self, kernel: str) -> None:
        self.instructions: list[Instruction] = []
        self.labels: dict[str, int] = {}
        self.data: dict[str, bytes] = {}
        self.entry = 0
        self._kernel, self._aligned = kernel, False
        self._files: dict[int, str] = {}
        self._location = Location()
        self._text, self._symbol = True, ""

    def line(self, line: str) -> None:
        code = line.partition(";")[0].strip()
        if not code:
            return
        if match := re.match(r'("[^"]+"|[\w.$]+):$', code):
            self._label(match[1].strip('"'))
        elif code.startswith("."):
            self._directive(code, line)
        elif self._text:
            self._instruction(code)

    def _label(self, name: str) -> None:
        if self._text:
            self.labels[name] = len(self.instructions)
        self._symbol = name

    def _directive(self, code: str, line: str) -> None:
        if match := _LOC.match(line.strip()):
            self._location = Location(
                self._files.get(int(match[1]), "?"), int(match[2]), (match[4] or "").strip()
            )
        elif match := _FILE.match(code):
            folder = f"{match[2]}/" if match[2] and not match[3].startswith("/") else ""
            self._files[int(match[1])] = folder + match[3]
        elif code.startswith((".text", ".section")):
            self._text = code.startswith(".text") or ".text" in code.split(",")[0]
        elif code.startswith(".p2align") and self._text and self._kernel in self.labels and not self._aligned:
            # Arguments are preloaded into scalar registers: hardware enters behind the code that loads them.
            self._aligned, self.entry = True, len(self.instructions)
        elif not self._text and self._symbol and (made := _data(code)) is not None:
            self.data[self._symbol] = self.data.get(self._symbol, b"") + made

    def _instruction(self, code: str) -> None:
        mnemonic, _, rest = code.partition(" ")
        encoding = next((each for each in ENCODINGS if mnemonic.endswith(each)), "")
        operands, modifiers = split_operands(rest)
        self.instructions.append(
            Instruction(
                len(self.instructions),
                mnemonic.removesuffix(encoding),
                encoding,
                operands,
                modifiers,
                self._location,
                re.sub(r"\s+", " ", code),
            )
        )


@lru_cache(maxsize=1 << 16)
def split_operands(rest: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Operands between commas, and what follows the last one: modifiers by name ("" where they take no
    value).
    """
    pieces = [piece.strip() for piece in _split(rest, ",")]
    if pieces == [""]:
        return (), {}
    last, *words = [word for word in _split(pieces[-1], " ") if word]
    modifiers = {}
    for word in words:
        name, _, value = word.partition(":")
        modifiers[name] = value
    return (*pieces[:-1], last), modifiers


def _split(text: str, separator: str) -> list[str]:
    """Splits outside brackets."""
    if "[" not in text and "(" not in text:
        return text.split(separator)
    pieces, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if character == separator and depth == 0:
            pieces.append(text[start:position])
            start = position + 1
    return [*pieces, text[start:]]


def _arguments(text: str) -> list[Argument]:
    """The arguments from the code object's metadata, in order."""
    block = re.search(r"\.args:\s*\n(.*?)\n\s*\.group_segment_fixed_size", text, re.S)
    found = []
    for item in re.split(r"\n\s*- ", "\n" + block[1].strip()) if block else ():
        values = dict(re.findall(r"\.(offset|size|value_kind):\s*(\S+)", item))
        if "offset" in values:
            found.append(Argument(int(values["offset"]), int(values["size"]), values["value_kind"]))
    return found


def _number(text: str) -> bool:
    return re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)", text) is not None


def _data(code: str) -> bytes | None:
    """The bytes that a data directive stands for; None for another directive."""
    name, _, rest = code.partition("\t") if "\t" in code else code.partition(" ")
    width = {".long": 4, ".quad": 8, ".short": 2, ".byte": 1}.get(name)
    if width:
        return b"".join(
            (int(each, 0) & ((1 << 8 * width) - 1)).to_bytes(width, "little")
            for each in rest.split(",")
            if _number(each.strip())
        )
    if name == ".zero":
        return bytes(int(rest.split(",")[0], 0))
    if name in (".asciz", ".ascii"):
        made = rest.strip().strip('"').encode().decode("unicode_escape").encode("latin1")
        return made + (b"\0" if name == ".asciz" else b"")
    return None
