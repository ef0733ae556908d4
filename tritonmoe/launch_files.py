"""Reading a launch table that a user made: what is wrong with it is said before any launch."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

WIDTHS = ("16bit", "32bit")
STAGES = ("gate_up", "down")
HOW = "write one with `tritonmoe tune`"


def read(path: str | Path, extras: Collection[str]) -> dict[str, Any]:
    """The tables in a file, by family. `extras`: fields that a tile of the expert products may have or lack.

    Raises ValueError, naming the file and the place, for what is no such table.
    """
    try:
        tables = json.loads(Path(path).read_text())
    except OSError as error:
        raise ValueError(f"launch table {path}: {error.strerror}; {HOW}") from error
    except ValueError as error:
        raise ValueError(f"launch table {path}: no JSON ({error}); {HOW}") from error
    try:
        _check(tables, set(extras))
    except ValueError as error:
        raise ValueError(f"launch table {path}: {error}; {HOW}") from error
    return tables


def _check(tables: Any, extras: set[str]) -> None:
    for name, table in _entries(tables, "the file"):
        needed = {"architectures", "source", "project", "choose", "sort", "sum", "experts"}
        _keys(table, name, needed)
        if not _all(table["architectures"], str):
            raise ValueError(f'{name}.architectures must be names, such as ["sm90"] or ["gfx942"]')
        for stage in ("choose", "sort", "sum"):
            _sizes(table[stage], f"{name}.{stage}", {"lanes"}, set())
        for width in WIDTHS:
            _keys(table["project"], f"{name}.project", set(WIDTHS))
            _sizes(
                table["project"][width], f"{name}.project.{width}", {"block_m", "block_n", "block_k"}, set()
            )
            _keys(table["experts"], f"{name}.experts", set(WIDTHS))
            _rows(table["experts"][width], f"{name}.experts.{width}", extras)


def _rows(rows: Any, place: str, extras: set[str]) -> None:
    if not _all(rows, dict):
        raise ValueError(f"{place} must be a list of at least one row")
    last = 0.0
    for number, row in enumerate(rows):
        here = f"{place}[{number}]"
        _keys(row, here, {"block_m", "max_rows", *STAGES}, {"tail", "skewed"})
        _tiles(row, here, extras)
        if "skewed" in row:
            _keys(row["skewed"], f"{here}.skewed", {"block_m", *STAGES}, {"tail"})
            _tiles(row["skewed"], f"{here}.skewed", extras)
        most = float("inf") if row["max_rows"] is None else row["max_rows"]
        if not isinstance(most, int | float) or not most > last:
            raise ValueError(
                f"{here}.max_rows is {row['max_rows']}; expected numbers that rise, null at last"
            )
        last = most
    if last != float("inf"):
        raise ValueError(f"{place} ends with max_rows {last}; expected null, for any number of rows")


def _tiles(row: Any, place: str, extras: set[str]) -> None:
    _power(row["block_m"], f"{place}.block_m")
    if row.get("tail"):
        _power(row["tail"], f"{place}.tail")
    for stage in STAGES:
        _sizes(row[stage], f"{place}.{stage}", {"block_n", "block_k"}, {"group_m", *extras})
        mixed = row[stage].get("mixed", 0)
        if isinstance(mixed, bool) or not isinstance(mixed, int) or mixed < 0:
            raise ValueError(f"{place}.{stage}.mixed is {mixed!r}; expected a whole number, of percent")


def _sizes(entry: Any, place: str, sizes: set[str], extras: set[str]) -> None:
    _keys(entry, place, {*sizes, "options"}, extras)
    for name in sizes:
        _power(entry[name], f"{place}.{name}")
    if not isinstance(entry["options"], dict):
        raise ValueError(f'{place}.options must be an object, such as {{"num_warps": 4}}')


def _keys(entry: Any, place: str, needed: set[str], allowed: Collection[str] = ()) -> None:
    present = {key for key, _ in _entries(entry, place)}
    if needed - present:
        raise ValueError(f"{place} lacks {', '.join(sorted(needed - present))}")
    unknown = present - needed - set(allowed)
    if unknown:
        raise ValueError(f"{place} has unknown fields: {', '.join(sorted(unknown))}")


def _entries(entry: Any, place: str) -> list[tuple[str, Any]]:
    if not isinstance(entry, dict) or not entry:
        raise ValueError(f"{place} must be an object with entries")
    return list(entry.items())


def _all(entries: Any, kind: type) -> bool:
    return isinstance(entries, list) and bool(entries) and all(isinstance(each, kind) for each in entries)


def _power(value: Any, place: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 16 or value & (value - 1):
        raise ValueError(f"{place} is {value!r}; expected a power of two of at least 16")
