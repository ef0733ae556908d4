"""What the service can be told, each by a variable of the environment, each with a default that works."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..wording import printable

PREFIX = "TRITONMOE_"
READ_ACCESS = ("public", "token")


class SettingsError(Exception):
    """A setting is wrong. The message is one line: which, what was given, what was expected."""


@dataclass(frozen=True)
class Settings:
    """One field a setting; `data` is TRITONMOE_DATA in the environment, and so on."""

    data: Path
    database: str = ""
    """URL of the database; "" is SQLite in the folder `data`."""
    read_access: str = "public"
    """public: anybody may read; token: only who has one."""
    trusted_keys: str = ""
    """Folder of the public keys (PEM) that certificates must be signed with; "" trusts nobody."""
    max_bytes: int = 32 * 2**20
    """Of one report."""
    max_reports: int = 100_000
    max_certificates: int = 100_000
    max_parities: int = 5_000
    """Verdicts that are kept; an older one is computed again when it is asked for."""
    read_rate: float = 50.0
    """Requests a second from one address and with one token, over time."""
    read_burst: int = 500
    write_rate: float = 5.0
    write_burst: int = 100
    upload_seconds: float = 300.0
    """How long one upload may take to arrive."""
    uploads_at_once: int = 16
    """That one worker receives; more are told to come back."""
    busy_seconds: float = 5.0
    """How long a change waits for the database before it is refused with 503."""

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data / 'service.sqlite3'}"


def default_data() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(base).expanduser() / "tritonmoe"


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings in TRITONMOE_*. Raises SettingsError."""
    given: dict[str, Any] = {"data": default_data()}
    for field in fields(Settings):
        text = environment.get(PREFIX + field.name.upper(), "")
        if text:
            given[field.name] = _converted(field.name, field.type, text)
    settings = Settings(**given)
    if settings.read_access not in READ_ACCESS:
        _refuse("read_access", settings.read_access, " or ".join(READ_ACCESS))
    return settings


def to_environment(settings: Settings) -> dict[str, str]:
    """What `from_environment` makes the same settings of: how they reach the workers."""
    return {PREFIX + field.name.upper(): str(getattr(settings, field.name)) for field in fields(Settings)}


def _converted(name: str, kind: Any, text: str) -> Any:
    if kind not in (int, float):
        return kind(text)
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not 0 < value < float("inf"):
        _refuse(name, text, "a whole number above 0" if kind is int else "a number above 0")
    return value


def _refuse(name: str, got: str, expected: str) -> None:
    raise SettingsError(f"{PREFIX}{name.upper()} is {printable(got, 80)!r}; expected {expected}")
