"""Tokens: tmoe_ID_SECRET. The database has the ID, to find the row by, and the SHA-256 of the SECRET.

The SECRET is 256 random bits, not a password: nobody can go through them, so a slow hash would add nothing
but its cost to every request. It is shown once, when the token is made.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import Enum

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from .database import tokens

DAY = 24 * 3600 * 1000
MAX_DAYS = 3650
_FORM = re.compile(r"tmoe_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,79}")
_NOBODY = hashlib.sha256(secrets.token_bytes(32)).hexdigest()


class Scope(str, Enum):
    """What a token may do; each may what those before it may."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def covers(self, other: "Scope") -> bool:
        ranks = list(Scope)
        return ranks.index(self) >= ranks.index(other)


class TokenError(Exception):
    """No valid token, or no way to make one. The message is one short sentence."""


@dataclass(frozen=True)
class Holder:
    """Who a valid token belongs to."""

    id: str
    name: str
    scope: Scope


def make(connection: Connection, name: str, scope: Scope, days: int, now: int) -> str:
    """Adds a token and returns it: it cannot be had again. Raises TokenError for a bad name or time."""
    if not _NAME.fullmatch(name):
        raise TokenError(
            "a token's name is 1 to 80 letters, digits, spaces and ._@-, with a letter or digit first"
        )
    if not 1 <= days <= MAX_DAYS:
        raise TokenError(f"a token lives for 1 to {MAX_DAYS} days; {days} were asked for")
    token_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    connection.execute(
        tokens.insert().values(
            id=token_id,
            name=name,
            scope=scope.value,
            secret_hash=_hash(secret),
            created=now,
            expires=now + days * DAY,
        )
    )
    return f"tmoe_{token_id}_{secret}"


def holder(connection: Connection, given: str, now: int) -> Holder:
    """Who this token belongs to. Raises TokenError.

    The time it takes does not depend on how much of a secret is right, nor on whether the ID exists: the hash
    is always taken and compared in constant time. That a token has expired is told only to who has all of it.
    """
    form = _FORM.fullmatch(given)
    if form is None:
        raise TokenError("the token is not of the form tmoe_ID_SECRET; was it cut off?")
    row = connection.execute(sa.select(tokens).where(tokens.c.id == form[1])).first()
    right = hmac.compare_digest(_hash(form[2]), row.secret_hash if row else _NOBODY)
    if row is None or not right:
        raise TokenError("the token is not known here")
    if row.revoked is not None:
        raise TokenError("the token has been revoked; ask for a new one")
    if now >= row.expires:
        raise TokenError("the token has expired; ask for a new one")
    return Holder(row.id, row.name, Scope(row.scope))


def every(connection: Connection) -> list[Row]:
    """All tokens' rows, oldest first."""
    return list(connection.execute(sa.select(tokens).order_by(tokens.c.created, tokens.c.id)))


def revoke(connection: Connection, id_or_name: str, now: int) -> int:
    """Ends the tokens with this ID or name. Returns how many that were; 0 if none still worked."""
    ours = sa.or_(tokens.c.id == id_or_name, tokens.c.name == id_or_name)
    changed = tokens.update().where(ours, tokens.c.revoked.is_(None)).values(revoked=now)
    return connection.execute(changed).rowcount


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
