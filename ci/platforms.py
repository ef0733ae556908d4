"""Reads the list of platforms, ci/platforms.toml, and refuses what is wrong with it by entry and field."""

import re
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = ROOT / "ci" / "platforms.toml"
PROFILES = ("smoke", "certify")  # soak draws examples of its own, which nothing can be compared with
# A platform fixes what its word is worth; reports/model.py holds the same and refuses other claims.
EVIDENCE = {
    "cuda": "hardware",
    "rocm": "hardware",
    "gfx942": "emulated",
    "gfx950": "emulated",
    "gfx90a": "emulated",
    "interpreter": "interpreted",
}
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:-]*(:[A-Za-z0-9_][A-Za-z0-9._-]*)?(?P<digest>@sha256:[0-9a-f]{64})?")
_INDEX = re.compile(r"https://[^\s\"'@]+")
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
# Versions that move: what they name tomorrow is not what was certified today.
_MOVING = ("latest", "main", "master", "nightly", "edge", "stable", "dev", "devel")


class ListError(Exception):
    """The list is wrong. The message is one line: file, entry, what is there, what was expected."""


@dataclass(frozen=True)
class Platform:
    """One entry. `hosted`: it runs on a machine without a device, where code of strangers may run."""

    id: str
    evidence: str
    required: tuple[str, ...]
    runs_on: tuple[str, ...]
    minutes: int
    probe: tuple[str, ...] = ()
    containerfile: str = ""
    image: str = ""
    torch_index: str = ""
    docker_options: tuple[str, ...] = ()
    pytest_options: tuple[str, ...] = ()
    record: str = ""
    hosted: bool = False


@dataclass(frozen=True)
class Platforms:
    """The whole list: the hosted runner's label, the image for the same on GitLab, and the entries."""

    hosted_runner: str
    hosted_image: str
    entries: tuple[Platform, ...]

    def get(self, platform_id: str) -> Platform:
        """The entry of this id. Raises ListError if there is none."""
        for entry in self.entries:
            if entry.id == platform_id:
                return entry
        known = ", ".join(entry.id for entry in self.entries)
        raise ListError(f"platform {platform_id!r} is not in the list; expected one of {known}")

    def required(self, profile: str) -> tuple[Platform, ...]:
        return tuple(entry for entry in self.entries if profile in entry.required)


def read(path: Path = DEFAULT) -> Platforms:
    """The list in this file. Raises ListError for one that is missing, no TOML, or not as described above."""
    try:
        given = _toml().loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ListError(f"{path}: cannot be read ({error})") from None
    except ValueError as error:
        raise ListError(f"{path}: is no TOML ({error})") from None
    checked = _Checked(str(path))
    checked.only(given, "the file", {"hosted", "platform"})
    hosted = checked.table(given.get("hosted"), "[hosted]")
    checked.only(hosted, "[hosted]", {"github", "image"})
    runner = checked.text(hosted, "[hosted]", "github", _LABEL, "the label of a hosted runner")
    image = checked.image(hosted, "[hosted]")
    listed = given.get("platform")
    if not isinstance(listed, list) or not listed:
        checked.refuse("the file", "platform", listed, "entries [[platform]], one or more")
    entries = tuple(checked.platform(each, runner, number) for number, each in enumerate(listed, 1))
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            raise ListError(f"{path}: platform {entry.id} is there twice; expected one entry a platform")
        seen.add(entry.id)
    return Platforms(runner, image, entries)


def _toml() -> Any:
    try:
        import tomllib
    except ModuleNotFoundError:
        try:
            import tomli as tomllib
        except ModuleNotFoundError:
            version = ".".join(map(str, sys.version_info[:2]))
            raise ListError(
                f"Python {version} reads no TOML; use Python 3.11 or newer, or: pip install tomli"
            ) from None
    return tomllib


class _Checked:
    """Fields of the file, each refused with its entry's name if it is not what was expected."""

    def __init__(self, path: str) -> None:
        self.source = path

    def refuse(self, entry: str, field: str, got: Any, expected: str) -> NoReturn:
        shown = "missing" if got is None else repr(got)[:120]
        raise ListError(f"{self.source}: {entry}: {field} is {shown}; expected {expected}")

    def only(self, given: dict[str, Any], entry: str, known: set[str]) -> None:
        for field in given:
            if field not in known:
                raise ListError(
                    f"{self.source}: {entry}: {field!r} is no field; expected {', '.join(sorted(known))}"
                )

    def table(self, given: Any, entry: str) -> dict[str, Any]:
        if not isinstance(given, dict):
            self.refuse("the file", entry, given, "a table")
        return given

    def text(self, given: dict, entry: str, field: str, pattern: re.Pattern[str], expected: str) -> str:
        value = given.get(field)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.refuse(entry, field, value, expected)
        return value

    def texts(self, given: dict, entry: str, field: str, expected: str, pattern: re.Pattern[str]) -> tuple:
        value = given.get(field)
        if not isinstance(value, list) or not all(isinstance(v, str) and pattern.fullmatch(v) for v in value):
            self.refuse(entry, field, value, expected)
        return tuple(value)

    def image(self, given: dict, entry: str) -> str:
        expected = "an image with a digest (name:tag@sha256:...) or an exact version as its tag"
        value = self.text(given, entry, "image", _IMAGE, expected)
        found = _IMAGE.fullmatch(value)
        tag = value.partition("@")[0].rpartition("/")[2].partition(":")[2]
        exact = any(character.isdigit() for character in tag) and tag.split("-")[0] not in _MOVING
        if not (found and found["digest"]) and not exact:
            self.refuse(entry, "image", value, expected)
        return value

    def path(self, given: dict, entry: str, field: str, what: str) -> str:
        expected = f"{what}, a path from the top of the checkout to a file that is there"
        value = self.text(given, entry, field, _PATH, expected)
        if ".." in value.split("/") or not (ROOT / value).is_file():
            self.refuse(entry, field, value, expected)
        return value

    def platform(self, given: Any, hosted_runner: str, number: int) -> Platform:
        entry = f"[[platform]] number {number}"
        given = self.table(given, entry)
        known = ", ".join(EVIDENCE)
        one_of = re.compile("|".join(EVIDENCE))
        platform_id = self.text(given, entry, "id", one_of, f"one of {known}")
        entry = f"platform {platform_id}"
        self.only(given, entry, {each.name for each in fields(Platform)} - {"hosted"})
        worth = EVIDENCE[platform_id]
        self.text(given, entry, "evidence", re.compile(worth), f"{worth!r}: no other claim")
        profiles = re.compile("|".join(PROFILES))
        expected = f"a list of profiles ({', '.join(PROFILES)}), empty if it is run only when asked for"
        required = self.texts(given, entry, "required", expected, profiles)
        runs_on = self.texts(given, entry, "runs_on", "a list of runner labels, one or more", _LABEL)
        if not runs_on:
            self.refuse(entry, "runs_on", [], "a list of runner labels, one or more")
        minutes = given.get("minutes")
        if type(minutes) is not int or not 1 <= minutes <= 360:
            self.refuse(entry, "minutes", minutes, "the time limit of its job, 1 to 360")
        anything = re.compile(r"[^\x00-\x1f]+")
        options = {
            field: self.texts(given, entry, field, "a list of words, one an argument", anything)
            for field in ("probe", "docker_options", "pytest_options")
            if field in given
        }
        if "containerfile" in given:
            options["containerfile"] = self.path(given, entry, "containerfile", "a container file")
        if "containerfile" in given:
            options["image"] = self.image(given, entry)
        elif extra := sorted({"image", "docker_options"} & set(given)):
            self.refuse(entry, "containerfile", None, f"one, since it gives {' and '.join(extra)}")
        if "torch_index" in given:
            options["torch_index"] = self.text(given, entry, "torch_index", _INDEX, "an https URL")
        if "record" in given:
            options["record"] = self.path(given, entry, "record", "a report of profile certify")
        # Only the one label that is known to be hosted counts: any other may be a machine of one's own.
        hosted = runs_on == (hosted_runner,)
        if worth == "hardware" and not options.get("probe"):
            self.refuse(entry, "probe", given.get("probe"), "a command that fails where there is no device")
        return Platform(platform_id, worth, required, runs_on, minutes, hosted=hosted, **options)
